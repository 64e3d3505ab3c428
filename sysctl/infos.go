package sysctl

import "strings"

// infos is what is known about the keys: one entry for each, found by its name
// when the variable of the key is initialised. It is a list of tables, so that
// no file of them grows too long; a new table is one more line here.
var infos = [...][]Info{
	coreInfos,
	ipInfos,
	openInfos,
	lifeInfos,
	closeInfos,
	memoryInfos,
	conntrackInfos,
}

// infoOf returns the entry of a name, with the path that follows from the name.
// A name without an entry has these two facts and no other: the key can be read
// all the same, and that its entry was forgotten is for the tests to say, not
// for a panic in somebody's program.
func infoOf(name string) Info {
	info := Info{Name: name}
	for _, table := range infos {
		for _, entry := range table {
			if entry.Name == name {
				info = entry
			}
		}
	}
	info.Path = strings.ReplaceAll(name, ".", "/")
	return info
}
