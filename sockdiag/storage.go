package sockdiag

import (
	"bytes"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// BPFStorage is what a BPF program keeps with a socket, in a map of type
// BPF_MAP_TYPE_SK_STORAGE.
type BPFStorage struct {
	MapID uint32 // of the map, as bpftool names it
	Value []byte // of the length and the meaning that the map has
}

func decodeBPFStorages(b []byte) (storages []BPFStorage, err error) {
	err = eachAttr(b, func(typ uint16, b []byte) error {
		if typ != uapi.SKDiagBPFStorage {
			return nil
		}
		var one BPFStorage
		err := eachAttr(b, func(typ uint16, b []byte) error {
			switch typ {
			case uapi.SKDiagBPFStorageMapID:
				return loadUint32(&one.MapID, "SK_DIAG_BPF_STORAGE_MAP_ID", b)
			case uapi.SKDiagBPFStorageMapValue:
				one.Value = bytes.Clone(b)
			}
			return nil
		})
		storages = append(storages, one)
		return err
	})
	return storages, err
}
