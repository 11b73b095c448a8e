package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"selfcon/data"
	"selfcon/internal/suggest"
	"selfcon/loss"
	"selfcon/model"
)

// Sources are what a run's settings come from, the weaker before the stronger:
// a setting's default gives way to the preset's value, that to the file's, then
// the environment's, key=value's and a flag's.
type Sources struct {
	File    string   // the configuration file's name, for messages
	Text    []byte   // what it says
	Environ []string // NAME=value, as os.Environ has them: those that begin with EnvPrefix are heeded
	Pairs   []string // key=value; of the same key, the last one holds
	Flags   []Flag
	Names   func(path string) ([]string, error) // reads a list of classes out of a file; nil: lists are given themselves
	// Network is that of the weights that the run begins with, in place of the
	// default one; a preset has its own. nil: there are none.
	Network *model.Config
}

// Flag is one that was given: its name without the dashes, and its value.
type Flag struct{ Name, Value string }

// Resolved is a run's configuration and where it comes from.
type Resolved struct {
	Run    Run
	Preset *Preset           // that it begins with; nil: none
	From   map[string]string // by key: where a value that is not the default comes from
	Notes  []string          // environment variables of EnvPrefix that nothing heeds
}

// NeedData says what a run lacks of its data, which Resolve lets be missing: the
// data, or the classes that its preset takes of them.
func (r Resolved) NeedData() error {
	if err := r.Run.Validate(); err != nil {
		return err
	}
	if p := r.Preset; p != nil {
		if format, _, _ := strings.Cut(r.Run.Data, ":"); p.Classes > 0 && format == p.Run.Data && r.Run.ClassList == nil {
			return bad("classes", "is missing: %s trains on %d of the classes of %s; say which with --classes FILE, a name a line", p.Name, p.Classes, format)
		}
	}
	return nil
}

// source is where a setting's value comes from, and how to set it.
type source struct {
	setting *Setting
	where   string // for messages: file:line: key, the variable, key=value, --flag
	from    string // for the printed configuration
	null    bool   // whether it is set to null
	set     func(*Run) error
}

// wrong is an error about the source's value; what is wrong with a file that it
// names is the file's own, a *data.Error.
func (x source) wrong(err error) error {
	if file := (*data.Error)(nil); errors.As(err, &file) {
		return err
	}
	return &Error{Setting: x.setting.Key, Where: x.where, Reason: err.Error()}
}

// Resolve makes a run's configuration of its sources and checks it. Errors are
// *Error, or, of a list of classes that can't be read, *data.Error. Data may be missing (see NeedData): all else must be right.
func Resolve(s Sources) (Resolved, error) {
	r := Resolved{Run: Default(), From: map[string]string{}}
	given, preset, notes, err := s.list()
	if err != nil {
		return r, err
	}
	r.Notes = notes
	if preset.name != "" {
		p, err := FindPreset(preset.name)
		if err != nil {
			return r, at(err, preset.where)
		}
		d := Default()
		r.Run, r.Preset = p.Run, &p
		for _, x := range table {
			if x.Text(&p.Run) != x.Text(&d) {
				r.From[x.Key] = "preset " + p.Name
			}
		}
	}
	if n := s.Network; n != nil && r.Preset == nil {
		m, d := &r.Run.Model, r.Run
		m.Arch, m.Width, m.Stem, m.Sub, m.ImageChannels = n.Arch, n.Width, n.Stem, n.Sub, n.ImageChannels
		for _, x := range table {
			if x.Text(&r.Run) != x.Text(&d) {
				r.From[x.Key] = fromWeights
			}
		}
	}
	base := r.Run
	last := map[string]source{}
	for _, x := range given {
		if err := x.set(&r.Run); err != nil {
			return r, x.wrong(err)
		}
		if err := x.setting.check(&r.Run); err != nil {
			return r, &Error{Setting: x.setting.Key, Where: x.where, Reason: err.Error()}
		}
		last[x.setting.Key] = x
		r.From[x.setting.Key] = x.from
	}
	r.follow(last, s.Network)
	r.Run.Model.ImageHeight, r.Run.Model.ImageWidth = r.Run.Image, r.Run.Image
	check := r.Run
	if check.Data == "" {
		check.Data = "sample"
	}
	if err := check.Validate(); err != nil {
		return r, locate(err, last)
	}
	if err := r.Run.CheckGiven(base, func(key string) bool { _, ok := last[key]; return ok }); err != nil {
		return r, locate(err, last)
	}
	plain, idle := r.Run.Plain()
	for _, key := range idle {
		delete(r.From, key)
	}
	r.Run = plain
	return r, nil
}

// follow fills in what follows from other settings where nobody said otherwise:
// the optimizer from the method, the learning rate and decay from the optimizer,
// the exits from the network and the method. A preset has its own as long as
// these are the preset's, and its optimizer for other methods too.
func (r *Resolved) follow(given map[string]source, begin *model.Config) {
	is := func(key string) bool { _, ok := given[key]; return ok }
	c := &r.Run
	d := Default()
	usual := func(key string, differs bool, with string) {
		if delete(r.From, key); differs {
			r.From[key] = "as usual with " + with
		}
	}
	if !is("optimizer") && r.Preset == nil {
		c.Optimizer = DefaultOptimizer(c.Method)
		usual("optimizer", c.Optimizer != d.Optimizer, c.Method)
	}
	if !is("lr") && (r.Preset == nil || is("optimizer")) {
		c.Rate = DefaultRate(c.Optimizer)
		usual("lr", c.Rate != d.Rate, c.Optimizer)
	}
	if !is("weight_decay") && (r.Preset == nil || is("optimizer")) {
		c.WeightDecay = DefaultDecay(c.Optimizer)
		usual("weight_decay", c.WeightDecay != d.WeightDecay, c.Optimizer)
	}
	if x, ok := given["exits"]; (!ok || x.null) && (r.Preset == nil || is("arch") || is("method") || ok) {
		c.Model.Exits = nil
		delete(r.From, "exits")
		if m, err := loss.Parse(c.Method); err == nil && m.NeedsExits() {
			if begin != nil && r.Preset == nil && !ok && !is("arch") && len(begin.Exits) > 0 {
				c.Model.Exits = begin.Exits
				r.From["exits"] = fromWeights
				return
			}
			c.Model.Exits = model.DefaultExits(c.Model.Arch)
			r.From["exits"] = "half-way, as " + c.Method + " needs one"
		}
	}
}

// fromWeights is where the network of weights from elsewhere comes from.
const fromWeights = "as the weights it begins with"

// Override changes a run that has begun: of its settings, those of the machine,
// on which the results do not depend, and where its data lie. Of the environment
// only the machine's are heeded; another one as key=value or a flag is an *Error.
func Override(c *Run, s Sources) error {
	given, _, _, err := s.list()
	if err != nil {
		return err
	}
	last := map[string]source{}
	var others []string
	for _, x := range given {
		inEnvironment := x.from == x.setting.Env()
		if !x.setting.OfMachine() && (inEnvironment || x.setting.Key != "data") {
			if !inEnvironment && !slices.Contains(others, x.where) {
				others = append(others, x.where)
			}
			continue
		}
		if err := x.set(c); err != nil {
			return x.wrong(err)
		}
		last[x.setting.Key] = x
	}
	if len(others) > 0 {
		return bad("resume", "goes on with the settings of the run; leave out %s", strings.Join(others, ", "))
	}
	return locate(c.Validate(), last)
}

// locate says in an error about a setting where that was given.
func locate(err error, given map[string]source) error {
	if e, ok := err.(*Error); ok && e.Where == "" {
		return at(err, given[e.Setting].where)
	}
	return err
}

// at is an error about a setting with where that was given.
func at(err error, where string) error {
	if e, ok := err.(*Error); ok {
		return &Error{e.Setting, where, e.Reason}
	}
	return err
}

// presetName is a preset that some source begins with.
type presetName struct{ name, where string }

// list is all that the sources give, the weaker before the stronger.
func (s Sources) list() (out []source, preset presetName, notes []string, err error) {
	add := func(key, where, from, text string) {
		if key == presetKey {
			preset = presetName{text, where}
			return
		}
		x := byKey[key]
		out = append(out, source{x, where, from, text == "null" && x.Nullable, func(c *Run) error { return x.setText(c, text, s.Names) }})
	}
	entries, err := readEntries(s.File, s.Text)
	if err != nil {
		return nil, preset, nil, err
	}
	for _, e := range entries {
		if e.key == presetKey {
			name, ok := word(e.value)
			if !ok {
				return nil, preset, nil, &Error{presetKey, e.where, "is " + kindOf(e.value) + ": must be the name of a preset"}
			}
			preset = presetName{name, e.where}
			continue
		}
		x, n := byKey[e.key], e.value
		from := fmt.Sprintf("%s:%d", printable(s.File), n.Line)
		out = append(out, source{x, e.where, from, isNull(n), func(c *Run) error { return x.setNode(c, n, s.Names) }})
	}
	for _, v := range s.Environ {
		name, text, _ := strings.Cut(v, "=")
		rest, ok := strings.CutPrefix(name, EnvPrefix)
		if !ok || text == "" { // to be empty is not to be set
			continue
		}
		key := strings.ToLower(rest)
		if key != presetKey && (byKey[key] == nil || rest != strings.ToUpper(rest)) {
			if !ours(rest) {
				hint := ""
				if n, ok := nearestKey(key); ok {
					hint = fmt.Sprintf("; did you mean %s%s?", EnvPrefix, strings.ToUpper(n))
				}
				notes = append(notes, fmt.Sprintf("the environment variable %s is no setting and is not heeded%s", printable(name), hint))
			}
			continue
		}
		add(key, name, name, text)
	}
	for _, p := range s.Pairs {
		key, text, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, preset, nil, &Error{p, printable(p), "is no setting: write key=value, such as epochs=10"}
		}
		if key != presetKey && byKey[key] == nil {
			return nil, preset, nil, &Error{key, printable(p), unknownKey(key)}
		}
		add(key, printable(p), "key=value", text)
	}
	for _, f := range s.Flags {
		add(strings.ReplaceAll(f.Name, "-", "_"), "--"+f.Name, "--"+f.Name, f.Value)
	}
	return out, preset, notes, nil
}

// ours says whether an environment variable that is no setting is one that
// something else in the program or its tests heeds; docs/configuration.md lists them.
func ours(rest string) bool {
	return slices.Contains([]string{"KERNELS", "PYTHON", "LIFELINE", "CONV", "JPEGS"}, rest) || strings.HasPrefix(rest, "TEST_")
}

// unknownKey says of a key that is none which one was meant.
func unknownKey(key string) string {
	hint := ""
	if n, ok := nearestKey(key); ok {
		hint = fmt.Sprintf("; did you mean %q?", n)
	}
	return "unknown setting" + hint + " (selfcon config lists all)"
}

func nearestKey(key string) (string, bool) {
	known := []string{presetKey}
	for _, x := range table {
		known = append(known, x.Key)
	}
	return suggest.Nearest(key, known)
}
