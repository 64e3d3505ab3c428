package sockdiag

import "iter"

// Collect returns all sockets of the sequence, and its error. What arrived before
// an error is returned with it. A Socket is some 600 bytes: of a large table, Dump
// or CountBy take what is needed in less memory.
func Collect(seq iter.Seq2[Socket, error]) ([]Socket, error) {
	var all []Socket
	for s, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Dedup passes each socket on once, by its cookie, the first time it comes: a
// socket that moves while the kernel walks its tables can come twice. To do so it
// remembers every cookie, which takes about 20 to 40 bytes a socket, for as long
// as the range goes on. Sockets without a cookie all pass.
func Dedup(seq iter.Seq2[Socket, error]) iter.Seq2[Socket, error] {
	return func(yield func(Socket, error) bool) {
		seen := make(map[uint64]struct{})
		for s, err := range seq {
			if err == nil && s.Cookie != 0 && s.Protocol != SCTP {
				if _, again := seen[s.Cookie]; again {
					continue
				}
				seen[s.Cookie] = struct{}{}
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// CountBy counts the sockets of the sequence by what key says of each. The Socket
// that key gets is only valid during the call. What was counted before an error
// is returned with it.
func CountBy[K comparable](seq iter.Seq2[Socket, error], key func(*Socket) K) (map[K]uint64, error) {
	counts := make(map[K]uint64)
	for s, err := range seq {
		if err != nil {
			return counts, err
		}
		counts[key(&s)]++
	}
	return counts, nil
}
