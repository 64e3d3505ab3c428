package uapi

// Operations of a filter program (INET_DIAG_BC_*).
const (
	BytecodeNop        = 0
	BytecodeJmp        = 1
	BytecodeSGE        = 2
	BytecodeSLE        = 3
	BytecodeDGE        = 4
	BytecodeDLE        = 5
	BytecodeAuto       = 6
	BytecodeSCond      = 7
	BytecodeDCond      = 8
	BytecodeDevCond    = 9  // Linux 4.8
	BytecodeMarkCond   = 10 // Linux 4.9
	BytecodeSEq        = 11 // Linux 4.16
	BytecodeDEq        = 12 // Linux 4.16
	BytecodeCgroupCond = 13 // Linux 5.8
)

// SizeofBytecodeOp is the size of struct inet_diag_bc_op, which begins each
// operation.
const SizeofBytecodeOp = 4

// MaxBytecode is how long a program can be: its length, and that of the attribute's
// header, are a 16-bit number, and a multiple of four.
const MaxBytecode = 65528
