package data

// faults are what Survey finds and Open ends with.
type faults struct{ list []fault }

type fault struct{ kind, split, about, example string }

func (f *faults) add(kind, split, about string, err error) {
	f.list = append(f.list, fault{kind, split, about, err.Error()})
}

// fault is err, or nothing if it is kept for a check.
func (opt Options) fault(kind, split, about string, err error) error {
	if opt.faults == nil {
		return err
	}
	opt.faults.add(kind, split, about, err)
	return nil
}

// unreadable is fault for what can't be read.
func (opt Options) unreadable(split string, err error) error {
	return opt.fault(Unreadable, split, unreadableAbout, err)
}
