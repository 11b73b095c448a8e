//go:build !amd64 || purego

package pixels

func machineSets() []*Set { return nil }
