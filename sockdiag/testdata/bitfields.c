/*
 * Prints the bytes that a C compiler makes of the bit-fields of struct tcp_info:
 * the values, then the bytes in hex. The declarations are those of the kernel's
 * include/uapi/linux/tcp.h, the last struct since Linux 7.0.
 *
 *   gcc -o bitfields bitfields.c && ./bitfields > bitfields.le.txt
 *   s390x-linux-gnu-gcc -static -o bitfields bitfields.c && qemu-s390x-static ./bitfields > bitfields.be.txt
 */
#include <stdio.h>
#include <string.h>

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;

struct bytes6and7 {
	__u8 tcpi_snd_wscale : 4, tcpi_rcv_wscale : 4;
	__u8 tcpi_delivery_rate_app_limited : 1, tcpi_fastopen_client_fail : 2;
};

struct bytes276_618 {
	__u16 tcpi_accecn_fail_mode;
	__u16 tcpi_accecn_opt_seen;
};

struct bytes276_70 {
	__u32 tcpi_ecn_mode : 2, tcpi_accecn_opt_seen : 2, tcpi_accecn_fail_mode : 4, tcpi_options2 : 24;
};

static void hex(const void *p, int n)
{
	for (const __u8 *b = p; n > 0; n--)
		printf("%02x", *b++);
	printf("\n");
}

static void at6(int snd, int rcv, int limited, int fail)
{
	struct bytes6and7 s;

	memset(&s, 0, sizeof(s));
	s.tcpi_snd_wscale = snd;
	s.tcpi_rcv_wscale = rcv;
	s.tcpi_delivery_rate_app_limited = limited;
	s.tcpi_fastopen_client_fail = fail;
	printf("6 snd_wscale %d rcv_wscale %d app_limited %d fastopen_fail %d bytes ", snd, rcv, limited, fail);
	hex(&s, sizeof(s));
}

static void at276_618(int fail, int seen)
{
	struct bytes276_618 s = { fail, seen };

	printf("276 6.18 fail_mode %d opt_seen %d bytes ", fail, seen);
	hex(&s, sizeof(s));
}

static void at276_70(int mode, int seen, int fail, int options2)
{
	struct bytes276_70 s;

	memset(&s, 0, sizeof(s));
	s.tcpi_ecn_mode = mode;
	s.tcpi_accecn_opt_seen = seen;
	s.tcpi_accecn_fail_mode = fail;
	s.tcpi_options2 = options2;
	printf("276 7.0 ecn_mode %d opt_seen %d fail_mode %d options2 %d bytes ", mode, seen, fail, options2);
	hex(&s, sizeof(s));
}

int main(void)
{
	at6(7, 10, 0, 0);
	at6(0, 14, 1, 0);
	at6(14, 0, 0, 1);
	at6(1, 2, 0, 2);
	at6(8, 4, 1, 3);
	at276_618(0, 0);
	at276_618(9, 2);
	at276_618(4, 3);
	at276_70(0, 0, 0, 0);
	at276_70(1, 0, 0, 0);
	at276_70(2, 1, 8, 0);
	at276_70(3, 2, 1, 0xabcdef);
	at276_70(0, 3, 6, 1);
	at276_70(2, 0, 0, 0x800000);
	return 0;
}
