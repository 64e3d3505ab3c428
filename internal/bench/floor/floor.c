// floor: the least that a request to sock_diag can cost a program. It sends the
// request, receives into one buffer until the end, walks the message headers and
// counts them. It decodes nothing.
//
// It prints one line of JSON: the median time of an operation and the mean of its
// CPU time in nanoseconds, the rows of the last one, and the peak of the resident
// set in KiB.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: floor [-n OPS] [-c] [-f 0|2|10] [-s MASK] [-x EXT] [-p PORT]\n"
	"             [-l ADDR:PORT -r ADDR:PORT]\n"
	"  -n  the number of operations that are timed (1)\n"
	"  -c  cold: time the first operation too\n"
	"  -f  the address family; 0, the default, is both in one walk\n"
	"  -s  the mask of states (all)\n"
	"  -x  the mask of extensions (none; 2 is tcp_info)\n"
	"  -p  only sockets with this remote port, selected by the kernel's bytecode\n"
	"  -l, -r  no dump: this one IPv4 connection\n";

// A dump's datagrams are never larger than 32 KiB.
static char buffer[32768];

static union {
	struct nlmsghdr header;
	char bytes[256];
} request;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void *append(size_t len) {
	void *at = request.bytes + request.header.nlmsg_len;
	request.header.nlmsg_len += len;
	return at;
}

static void append_port_filter(int port) {
	struct nlattr *attr = append(sizeof *attr);
	struct inet_diag_bc_op *op = append(2 * sizeof *op);
	attr->nla_type = INET_DIAG_REQ_BYTECODE;
	attr->nla_len = sizeof *attr + 2 * sizeof *op;
	op[0].code = INET_DIAG_BC_D_EQ;
	op[0].yes = 2 * sizeof *op;  // on, here to the end, which accepts
	op[0].no = 3 * sizeof *op;   // behind the end, which rejects
	op[1].no = port;
}

// The older of the two requests, which alone walks both families at once.
static void build_both(unsigned states, unsigned ext) {
	request.header.nlmsg_type = TCPDIAG_GETSOCK;
	struct inet_diag_req *r = append(sizeof *r);
	r->idiag_family = AF_INET;
	r->idiag_states = states;
	r->idiag_ext = ext;
}

static void build_one_family(int family, unsigned states, unsigned ext) {
	request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	struct inet_diag_req_v2 *r = append(sizeof *r);
	r->sdiag_family = family;
	r->sdiag_protocol = IPPROTO_TCP;
	r->idiag_states = states;
	r->idiag_ext = ext;
}

static void parse_end(char *text, __be32 *addr, __be16 *port) {
	char *colon = strchr(text, ':');
	if (!colon) {
		fputs(usage, stderr);
		exit(2);
	}
	*colon = 0;
	if (inet_pton(AF_INET, text, addr) != 1) {
		fputs(usage, stderr);
		exit(2);
	}
	*port = htons(atoi(colon + 1));
}

static void build_exact(char *local, char *remote, unsigned ext) {
	build_one_family(AF_INET, 0, ext);
	struct inet_diag_req_v2 *r = NLMSG_DATA(&request.header);
	parse_end(local, r->id.idiag_src, &r->id.idiag_sport);
	parse_end(remote, r->id.idiag_dst, &r->id.idiag_dport);
	r->id.idiag_cookie[0] = r->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

// ask does one operation and returns the number of its rows.
static unsigned long ask(int fd) {
	int dump = request.header.nlmsg_flags & NLM_F_DUMP;
	unsigned long rows = 0;
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0) die("send");
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof buffer, MSG_TRUNC);
		if (n < 0) die("recv");
		if ((size_t)n > sizeof buffer) {
			fprintf(stderr, "a datagram of %zd bytes\n", n);
			exit(1);
		}
		int left = n;
		for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_ERROR) {
				errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
				die("the kernel's answer");
			}
			if (h->nlmsg_type == NLMSG_DONE) return rows;
			rows++;
		}
		if (!dump) return rows;
	}
}

static double nanoseconds(clockid_t clock) {
	struct timespec t;
	if (clock_gettime(clock, &t)) die("clock_gettime");
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// peak_rss is in KiB. getrusage would answer with that of the parent if it had
// more.
static long peak_rss(void) {
	char line[128];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	if (!f) die("/proc/self/status");
	while (fgets(line, sizeof line, f)) sscanf(line, "VmHWM: %ld", &kib);
	fclose(f);
	return kib;
}

int main(int argc, char **argv) {
	int ops = 1, cold = 0, family = 0, port = -1;
	unsigned states = ~0u, ext = 0;
	char *local = NULL, *remote = NULL;
	for (int c; (c = getopt(argc, argv, "hn:cf:s:x:p:l:r:")) != -1;) switch (c) {
		case 'n': ops = atoi(optarg); break;
		case 'c': cold = 1; break;
		case 'f': family = atoi(optarg); break;
		case 's': states = strtoul(optarg, NULL, 0); break;
		case 'x': ext = strtoul(optarg, NULL, 0); break;
		case 'p': port = atoi(optarg); break;
		case 'l': local = optarg; break;
		case 'r': remote = optarg; break;
		default: fputs(usage, c == 'h' ? stdout : stderr); return c == 'h' ? 0 : 2;
	}
	if (ops < 1 || optind < argc || !local != !remote) {
		fputs(usage, stderr);
		return 2;
	}

	request.header.nlmsg_len = NLMSG_HDRLEN;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	if (local) {
		build_exact(local, remote, ext);
	} else {
		request.header.nlmsg_flags |= NLM_F_DUMP;
		if (family) build_one_family(family, states, ext);
		else build_both(states, ext);
		if (port >= 0) append_port_filter(port);
	}

	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0) die("socket");
	double *took = calloc(ops, sizeof *took);
	if (!took) die("calloc");
	unsigned long rows = 0;
	if (!cold) ask(fd);
	double cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < ops; i++) {
		double begin = nanoseconds(CLOCK_MONOTONIC);
		rows = ask(fd);
		took[i] = nanoseconds(CLOCK_MONOTONIC) - begin;
	}
	cpu = (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / ops;
	qsort(took, ops, sizeof *took, compare);
	double median = (took[(ops - 1) / 2] + took[ops / 2]) / 2;
	printf("{\"NS\":%.0f,\"CPU\":%.0f,\"Rows\":%lu,\"PeakRSS\":%ld}\n", median, cpu, rows, peak_rss());
	return 0;
}
