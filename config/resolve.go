package config

import (
	"fmt"
	"strings"

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
}

// Flag is one that was given: its name without the dashes, and its value.
type Flag struct{ Name, Value string }

// Resolved is a run's configuration and where it comes from.
type Resolved struct {
	Run    Run
	Preset *Preset           // that it begins with; nil: none
	From   map[string]string // by key: where a value that is not the default comes from
}

// source is where a setting's value comes from, and how to set it.
type source struct {
	setting *Setting
	where   string // for messages: file:line: key, the variable, key=value, --flag
	from    string // for the printed configuration
	null    bool   // whether it is set to null
	set     func(*Run) error
}

// Resolve makes a run's configuration of its sources and checks it. Errors are
// *Error. Data may be missing (see NeedData): all else must be right.
func Resolve(s Sources) (Resolved, error) {
	r := Resolved{Run: Default(), From: map[string]string{}}
	given, preset, err := s.list()
	if err != nil {
		return r, err
	}
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
	last := map[string]source{}
	for _, x := range given {
		if err := x.set(&r.Run); err != nil {
			return r, &Error{Setting: x.setting.Key, Where: x.where, Reason: err.Error()}
		}
		if err := x.setting.check(&r.Run); err != nil {
			return r, &Error{Setting: x.setting.Key, Where: x.where, Reason: err.Error()}
		}
		last[x.setting.Key] = x
		r.From[x.setting.Key] = x.from
	}
	r.follow(last)
	r.Run.Model.ImageHeight, r.Run.Model.ImageWidth = r.Run.Image, r.Run.Image
	check := r.Run
	if check.Data == "" {
		check.Data = "sample"
	}
	if err := check.Validate(); err != nil {
		return r, locate(err, last)
	}
	return r, nil
}

// follow fills in what follows from other settings where nobody said otherwise:
// the learning rate from the optimizer, the exits from the network and the
// method. A preset has its own as long as these are the preset's.
func (r *Resolved) follow(given map[string]source) {
	is := func(key string) bool { _, ok := given[key]; return ok }
	c := &r.Run
	if !is("lr") && (r.Preset == nil || is("optimizer")) {
		if c.Rate = DefaultRate(c.Optimizer); c.Rate != Default().Rate {
			r.From["lr"] = "as usual with " + c.Optimizer
		} else {
			delete(r.From, "lr")
		}
	}
	if x, ok := given["exits"]; (!ok || x.null) && (r.Preset == nil || is("arch") || is("method") || ok) {
		c.Model.Exits = nil
		delete(r.From, "exits")
		if m, err := loss.Parse(c.Method); err == nil && m.NeedsExits() {
			c.Model.Exits = model.DefaultExits(c.Model.Arch)
			r.From["exits"] = "half-way, as " + c.Method + " needs one"
		}
	}
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
func (s Sources) list() ([]source, presetName, error) {
	var out []source
	var preset presetName
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
		return nil, preset, err
	}
	for _, e := range entries {
		if e.key == presetKey {
			name, ok := word(e.value)
			if !ok {
				return nil, preset, &Error{presetKey, e.where, "is " + kindOf(e.value) + ": must be the name of a preset"}
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
			hint := ""
			if n, ok := nearestKey(key); ok {
				hint = fmt.Sprintf("; did you mean %s%s?", EnvPrefix, strings.ToUpper(n))
			}
			return nil, preset, &Error{key, name, "this environment variable is no setting" + hint + " (selfcon config lists all settings)"}
		}
		add(key, name, name, text)
	}
	for _, p := range s.Pairs {
		key, text, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, preset, &Error{p, printable(p), "is no setting: write key=value, such as epochs=10"}
		}
		if key != presetKey && byKey[key] == nil {
			return nil, preset, &Error{key, printable(p), unknownKey(key)}
		}
		add(key, printable(p), "key=value", text)
	}
	for _, f := range s.Flags {
		add(strings.ReplaceAll(f.Name, "-", "_"), "--"+f.Name, "--"+f.Name, f.Value)
	}
	return out, preset, nil
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
