/*
 * Compiled, this is BTF in the byte order of the compiler's machine. The two
 * files beside it are from gcc 12.2 for x86_64 (le) and s390x (be):
 *
 *   gcc -gbtf -c -ffile-prefix-map="$PWD"=. -o layout.o layout.c
 *   objcopy -O binary -j .BTF --set-section-flags .BTF=alloc layout.o layout.le.btf
 */
typedef unsigned int u32;
typedef const volatile u32 cvu32;

enum colour { RED, GREEN = 7, MINUS = -2 };
enum { NAMELESS = 3 };

struct ahead;
union both { unsigned char bytes[12]; double d; };

struct sample {
	unsigned char a;
	unsigned char lo : 4, hi : 4;
	cvu32 *pointer;
	cvu32 word;
	u32 matrix[3][5];
	enum colour colour;
	union both both;
	struct ahead *ahead;
	int (*callback)(struct sample *, int);
	u32 one : 2, two : 2, four : 4, rest : 24;
	unsigned long long last;
	struct { short inner; };
} sample;

int nameless = NAMELESS;
static int twice(struct sample *restrict s, int x) { return s->word + x; }
int use(void) { return twice(&sample, 1); }
