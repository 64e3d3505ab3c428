package sockdiag

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// Extra is what few sockets have, or what is too large for a Socket. Which of it
// the kernel sent is in Socket.Attrs.
type Extra struct {
	Vegas   VegasInfo // AttrVegasInfo
	DCTCP   DCTCPInfo // AttrDCTCPInfo
	ULP     ULPInfo   // AttrULPInfo
	MD5Keys []MD5Key  // AttrMD5Keys

	MPTCP       *MPTCPInfo   // AttrMPTCPInfo, of MPTCP sockets; nil without
	SCTP        *SCTPInfo    // of SCTP sockets, which all have it; nil of others
	BPFStorages []BPFStorage // AttrBPFStorages

	// Unknown holds the attributes that this library has no field for, in the
	// order in which they came. It is filled in for those who ask for it with
	// AttrUnknown.
	Unknown []RawAttr
}

// RawAttr is an attribute as the kernel sent it.
type RawAttr struct {
	Type uint16 // INET_DIAG_*, without the flags of its two high bits
	Data []byte // in the byte order of the machine
}

// ULPInfo is the upper-layer protocol on top of a TCP socket (TCP_ULP).
type ULPInfo struct {
	Name  string        // "tls", "mptcp", "espintcp", …
	TLS   TLSInfo       // of "tls"; zero before keys are set
	MPTCP MPTCPSubflow  // of "mptcp"; zero for a listener
	Sent  ULPAttributes // which of MPTCP and TLS the kernel sent
}

// ULPAttributes says what is in a ULPInfo besides the name.
type ULPAttributes uint8

// The parts.
const (
	ULPHasTLS   ULPAttributes = 1 << 0
	ULPHasMPTCP ULPAttributes = 1 << 1
)

// TLSInfo is the state of TLS in the kernel (INET_ULP_INFO_TLS).
type TLSInfo struct {
	Version      uint16  // as in TLS records: 0x0303 is TLS 1.2, 0x0304 TLS 1.3; 0: not set
	Cipher       uint16  // TLS_CIPHER_* of linux/tls.h: 51 is AES-GCM-128; 0: not set
	Send, Recv   TLSConf // who encrypts and who decrypts
	ZeroCopySend bool    // sendfile without a copy (TLS_TX_ZEROCOPY_RO)
	RecvNoPad    bool    // TLS 1.3 records are expected without padding (TLS_RX_EXPECT_NO_PAD)
	MaxPayload   uint16  // largest payload of a record sent, in bytes; 0: not said. Linux 6.19
}

// TLSConf is how one direction of TLS is done (TLS_CONF_*).
type TLSConf uint16

// The ways.
const (
	TLSConfBase     TLSConf = 1 // by the program
	TLSConfSoftware TLSConf = 2 // by the kernel
	TLSConfDevice   TLSConf = 3 // by the network device
	TLSConfRecord   TLSConf = 4 // by the network device, records and all
)

// String returns "base", "software", "device", "record", "unset" for zero, or
// "TLSConf(9)".
func (c TLSConf) String() string {
	return enumString(c, "TLSConf", "unset", "base", "software", "device", "record")
}

// MPTCPSubflow is what a TCP socket is as part of an MPTCP connection
// (INET_ULP_INFO_MPTCP). RelWriteSeq, MapSeq, MapSubflowSeq, SSNOffset and
// MapDataLen are zero for callers without CAP_NET_ADMIN.
type MPTCPSubflow struct {
	TokenRemote   uint32 // the peer's token, of a subflow that joined later; 0 of the first
	TokenLocal    uint32 // the connection's token, as its MPTCP socket has it
	RelWriteSeq   uint32 // bytes that this subflow has taken to send, its SYN included
	MapSeq        uint64 // data sequence number of the mapping that is being received
	MapSubflowSeq uint32 // where in the subflow that mapping begins
	SSNOffset     uint32 // initial sequence number of the peer
	MapDataLen    uint16 // bytes of the mapping
	Flags         uint32 // MPTCP_SUBFLOW_FLAG_*
	IDRemote      uint8  // the peer's id of its address
	IDLocal       uint8  // our id of our address
}

// MD5Key is one TCP-MD5 key of a socket (struct tcp_diag_md5sig, RFC 2385).
type MD5Key struct {
	Peers  netip.Prefix // the peers that it is for
	Secret MD5Secret    // the key
}

// MD5Secret is a key. It shows itself only to Reveal: printed with any verb,
// logged or marshalled it is a placeholder.
type MD5Secret struct {
	// Methods are not called on what an unexported field of somebody's struct
	// holds, and a verb that does not fit makes fmt follow one pointer to a
	// slice. It does not follow two.
	key **[]byte
}

// Reveal returns the key.
func (s MD5Secret) Reveal() []byte {
	if s.key == nil {
		return nil
	}
	return bytes.Clone(**s.key)
}

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (s MD5Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler, and so for JSON.
func (s MD5Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (s MD5Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// extra returns the Socket's Extra, and makes it where there is none.
func (s *Socket) extra() *Extra {
	if s.Extra == nil {
		s.Extra = new(Extra)
	}
	return s.Extra
}

func decodeMD5Keys(b []byte) ([]MD5Key, error) {
	if len(b)%uapi.SizeofMD5Sig != 0 {
		return nil, &DecodeError{What: "INET_DIAG_MD5SIG", Len: len(b), Want: (len(b)/uapi.SizeofMD5Sig + 1) * uapi.SizeofMD5Sig}
	}
	keys := make([]MD5Key, 0, len(b)/uapi.SizeofMD5Sig)
	for ; len(b) > 0; b = b[uapi.SizeofMD5Sig:] {
		// family, prefix length, key length, address, key.
		addr := netip.AddrFrom16([16]byte(b[4:]))
		if b[0] == uapi.AFInet {
			addr = netip.AddrFrom4([4]byte(b[4:]))
		}
		key := bytes.Clone(b[20 : 20+min(int(ne.Uint16(b[2:])), 80)])
		pointer := &key
		keys = append(keys, MD5Key{Peers: netip.PrefixFrom(addr, int(b[1])), Secret: MD5Secret{&pointer}})
	}
	return keys, nil
}

func (u *ULPInfo) decode(b []byte) error {
	return eachAttr(b, func(typ uint16, b []byte) error {
		switch typ {
		case uapi.ULPInfoName:
			u.Name = string(bytes.TrimRight(b, "\x00"))
		case uapi.ULPInfoTLS:
			u.Sent |= ULPHasTLS
			return u.TLS.decode(b)
		case uapi.ULPInfoMPTCP:
			u.Sent |= ULPHasMPTCP
			return u.MPTCP.decode(b)
		}
		return nil
	})
}

func (i *TLSInfo) decode(b []byte) error {
	return eachAttr(b, func(typ uint16, b []byte) error {
		switch typ {
		case uapi.TLSInfoVersion:
			return loadUint16(&i.Version, "TLS_INFO_VERSION", b)
		case uapi.TLSInfoCipher:
			return loadUint16(&i.Cipher, "TLS_INFO_CIPHER", b)
		case uapi.TLSInfoTXConf:
			return loadUint16((*uint16)(&i.Send), "TLS_INFO_TXCONF", b)
		case uapi.TLSInfoRXConf:
			return loadUint16((*uint16)(&i.Recv), "TLS_INFO_RXCONF", b)
		case uapi.TLSInfoZCROTX:
			i.ZeroCopySend = true
		case uapi.TLSInfoRXNoPad:
			i.RecvNoPad = true
		case uapi.TLSInfoTXMaxPayloadLen:
			return loadUint16(&i.MaxPayload, "TLS_INFO_TX_MAX_PAYLOAD_LEN", b)
		}
		return nil
	})
}

func (i *MPTCPSubflow) decode(b []byte) error {
	return eachAttr(b, func(typ uint16, b []byte) error {
		switch typ {
		case uapi.SubflowTokenRem:
			return loadUint32(&i.TokenRemote, "MPTCP_SUBFLOW_ATTR_TOKEN_REM", b)
		case uapi.SubflowTokenLoc:
			return loadUint32(&i.TokenLocal, "MPTCP_SUBFLOW_ATTR_TOKEN_LOC", b)
		case uapi.SubflowRelWrite:
			return loadUint32(&i.RelWriteSeq, "MPTCP_SUBFLOW_ATTR_RELWRITE_SEQ", b)
		case uapi.SubflowMapSeq:
			return loadUint64(&i.MapSeq, "MPTCP_SUBFLOW_ATTR_MAP_SEQ", b)
		case uapi.SubflowMapSFSeq:
			return loadUint32(&i.MapSubflowSeq, "MPTCP_SUBFLOW_ATTR_MAP_SFSEQ", b)
		case uapi.SubflowSSNOffset:
			return loadUint32(&i.SSNOffset, "MPTCP_SUBFLOW_ATTR_SSN_OFFSET", b)
		case uapi.SubflowMapDataLen:
			return loadUint16(&i.MapDataLen, "MPTCP_SUBFLOW_ATTR_MAP_DATALEN", b)
		case uapi.SubflowFlags:
			return loadUint32(&i.Flags, "MPTCP_SUBFLOW_ATTR_FLAGS", b)
		case uapi.SubflowIDRem:
			return loadUint8(&i.IDRemote, "MPTCP_SUBFLOW_ATTR_ID_REM", b)
		case uapi.SubflowIDLoc:
			return loadUint8(&i.IDLocal, "MPTCP_SUBFLOW_ATTR_ID_LOC", b)
		}
		return nil
	})
}

// SocketOptions is a set of options that are on (struct inet_diag_sockopt). Bit n
// is the n-th bit-field, whichever end the kernel's compiler put it at.
type SocketOptions uint16

// The options.
const (
	SockOptRecvErr           SocketOptions = 1 << 0  // IP_RECVERR
	SockOptConnectionSocket  SocketOptions = 1 << 1  // a connection-oriented socket, no option
	SockOptFreebind          SocketOptions = 1 << 2  // IP_FREEBIND
	SockOptHeaderIncluded    SocketOptions = 1 << 3  // IP_HDRINCL
	SockOptMulticastLoop     SocketOptions = 1 << 4  // IP_MULTICAST_LOOP
	SockOptTransparent       SocketOptions = 1 << 5  // IP_TRANSPARENT
	SockOptMulticastAll      SocketOptions = 1 << 6  // IP_MULTICAST_ALL
	SockOptNoDefrag          SocketOptions = 1 << 7  // IP_NODEFRAG
	SockOptBindAddressNoPort SocketOptions = 1 << 8  // IP_BIND_ADDRESS_NO_PORT
	SockOptRecvErrRFC4884    SocketOptions = 1 << 9  // IP_RECVERR_RFC4884
	SockOptDeferConnect      SocketOptions = 1 << 10 // TCP Fast Open: the SYN waits for data
)

// Has reports whether o has all of x.
func (o SocketOptions) Has(x SocketOptions) bool { return o&x == x }

// String lists the options, "RecvErr|Freebind"; "none" for the empty set.
func (o SocketOptions) String() string { return string(o.append(nil)) }

func (o SocketOptions) append(b []byte) []byte {
	return appendSet(b, o, "SocketOptions", "RecvErr", "ConnectionSocket", "Freebind", "HeaderIncluded", "MulticastLoop",
		"Transparent", "MulticastAll", "NoDefrag", "BindAddressNoPort", "RecvErrRFC4884", "DeferConnect")
}

// decode takes two bytes of bit-fields, each byte a unit of its own.
func (o *SocketOptions) decode(b []byte, bigEndian bool) error {
	if len(b) < 2 {
		return short("INET_DIAG_SOCKOPT", b, 2)
	}
	first, second := b[0], b[1]
	if bigEndian {
		first, second = bits.Reverse8(first), bits.Reverse8(second)
	}
	*o = SocketOptions(first) | SocketOptions(second)<<8
	return nil
}
