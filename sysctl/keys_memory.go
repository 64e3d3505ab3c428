package sysctl

// Memory: buffers, hash tables, and the queue before TCP.

// NetdevMaxBacklog is net.core.netdev_max_backlog: how many packets wait for one
// CPU between the driver and the protocols. What does not fit is dropped before
// TCP sees it, and counted in the second column of /proc/net/softnet_stat.
var NetdevMaxBacklog = newKey[int]("net.core.netdev_max_backlog", parseInt, byDefault(1000))

// RmemMax is net.core.rmem_max: the most bytes that SO_RCVBUF can ask for. TCP
// buffers that no program set grow up to [TCPRmem] and do not follow it.
var RmemMax = newKey[int]("net.core.rmem_max", parseInt, byDefaultSince(6, 18, 4<<20, 212992))

// TCPChildEhashEntries is net.ipv4.tcp_child_ehash_entries: the buckets of the
// TCP hash table that the next network namespace made here gets for itself; 0
// lets it share that of the host. The new namespace's [TCPMaxTWBuckets] follows.
var TCPChildEhashEntries = newKey[int]("net.ipv4.tcp_child_ehash_entries", parseInt, byDefault(0), traps(childTableTrap))

// TCPEhashEntries is net.ipv4.tcp_ehash_entries: the size of the hash table of
// the namespace's connections, and whether it is that of the host. It cannot be
// written; tcp_max_tw_buckets and others have their defaults from it.
var TCPEhashEntries = newKey[HashTable]("net.ipv4.tcp_ehash_entries", parseHashTable)

// TCPMem is net.ipv4.tcp_mem: how many pages the buffers of all TCP sockets of
// the host may take. Above Pressure buffers stop growing; above High sockets
// get no memory and orphans are reset. "mem" in /proc/net/sockstat is what to
// compare it with. Only the initial network namespace has the file.
var TCPMem = newKey[PageTriple]("net.ipv4.tcp_mem", parsePages, traps(pagesTrap))

// TCPRmem is net.ipv4.tcp_rmem: the bounds within which the receive buffer of a
// TCP socket grows by itself. A program that sets SO_RCVBUF leaves them, and
// then loses the growing.
var TCPRmem = newKey[ByteTriple]("net.ipv4.tcp_rmem", parseBytes, traps(bytesTrap))

// TCPWmem is net.ipv4.tcp_wmem: the bounds within which the send buffer of a TCP
// socket grows by itself. A socket in FIN_WAIT1 whose peer does not read holds
// this much.
var TCPWmem = newKey[ByteTriple]("net.ipv4.tcp_wmem", parseBytes, traps(bytesTrap))

// WmemMax is net.core.wmem_max: the most bytes that SO_SNDBUF can ask for. TCP
// buffers that no program set grow up to [TCPWmem] and do not follow it.
var WmemMax = newKey[int]("net.core.wmem_max", parseInt, byDefaultSince(6, 18, 4<<20, 212992))
