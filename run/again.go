package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/internal/machine"
	"selfcon/internal/shell"
	"selfcon/train"
)

// What it takes to do a run again, or to go on with it: its settings in the form
// that --config reads, the data that it began with, and what it ran on.

// writeConfig writes a run's settings into its folder.
func writeConfig(dir string, m Manifest) error {
	head := []string{
		fmt.Sprintf("The settings of a run, all of them, as selfcon %s began it on %s.", m.Version, m.Created.Format("2006-01-02")),
		"To train the same again, into a new folder: selfcon train --config " + ConfigFile,
	}
	if m.Init != "" {
		head = append(head, "It began with the weights in "+m.Init+": add --init FILE")
	}
	if m.From != "" {
		head = append(head, "It began with the encoder in "+m.From+" (selfcon finetune), which this file can't say: what it trains begins with random weights.")
	}
	head = append(head, "This is a copy for reading, editing and --config: the run itself goes by "+ManifestFile+", so that changes here do not change it.")
	text, err := config.Marshal(m.Config, head...)
	if err != nil {
		return err
	}
	return checkpoint.WriteText(filepath.Join(dir, ConfigFile), text)
}

// checkConfig says what somebody has changed in the copy of a run's settings,
// expecting perhaps that the run would go by it, and writes the copy if there is
// none, or if nobody has and the data have moved from where it says.
func checkConfig(dir string, m Manifest, from string) (note string, err error) {
	path := filepath.Join(dir, ConfigFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", writeConfig(dir, m)
	}
	if err != nil {
		return "", err
	}
	const rest = "; the run goes on with its own settings, which are in " + ManifestFile
	c, err := config.Parse(path, text)
	if err != nil {
		return fmt.Sprintf("%v%s", err, rest), nil
	}
	var changed []string
	then := m.Config
	then.Data = cmp.Or(from, then.Data)
	for _, s := range config.Settings() {
		if a, b := s.Text(&then), s.Text(&c); a != b && !s.OfMachine() {
			changed = append(changed, fmt.Sprintf("%s is %s, not %s", s.Key, cmp.Or(b, "none"), cmp.Or(a, "none")))
		}
	}
	if len(changed) == 0 && from != "" {
		return "", writeConfig(dir, m)
	}
	if len(changed) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s was changed: %s%s. To train with the changed ones: selfcon train --config %s", path, strings.Join(changed, ", "), rest, shell.Quote(path)), nil
}

// Checked is what CheckData found.
type Checked struct {
	Now     data.Fingerprint
	Changes []string // since the run began; they were accepted
	From    string   // where the data lay before, if elsewhere
}

// CheckData compares the data in s, which was opened for the run in dir, perhaps
// from another place, with what the run began with. A *data.Error says what differs; but that labels,
// names and bytes do can be accepted, as they must when damaged images were
// replaced.
func (m Manifest) CheckData(dir string, s *train.Setup, accept bool) (c Checked, err error) {
	if s.Config.Data != m.Config.Data {
		if c.From = m.Config.Data; m.Data == nil {
			return c, &config.Error{Setting: "data", Reason: fmt.Sprintf("%s was begun by a program that took no fingerprint of its data, so that nothing tells whether this is the same: put it back to %s", dir, m.Config.Data)}
		}
	}
	if c.Now, err = s.Data.Fingerprint(); err != nil {
		return c, err
	}
	var wrong []string
	if !slices.Equal(s.Classes, m.Classes) {
		wrong = append(wrong, fmt.Sprintf("classes %s, not %s", someNames(s.Classes), someNames(m.Classes)))
	}
	fits := len(wrong) == 0 && s.Counts() == m.Images // the place in the training means the same
	if m.Data != nil {
		for _, d := range m.Data.Differences(c.Now) {
			if d != "other classes" || len(wrong) == 0 {
				wrong = append(wrong, d)
			}
		}
	}
	if now := s.Counts(); len(wrong) == 0 && !fits {
		wrong = append(wrong, fmt.Sprintf("%d training, %d validation and %d test images, not %d, %d and %d",
			now.Train, now.Val, now.Test, m.Images.Train, m.Images.Val, m.Images.Test))
	}
	if len(wrong) == 0 || fits && accept {
		c.Changes = wrong
		return c, nil
	}
	advice := "Put it back as it was"
	if c.From != "" {
		advice = "Say where that lies"
	}
	if fits {
		advice += ", or go on with it as it is: selfcon train --accept-data --resume " + shell.Quote(dir)
		if c.From != "" {
			advice += " --data " + shell.Quote(s.Config.Data)
		}
	} else if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err == nil {
		advice += ", or begin anew with: selfcon train --config " + shell.Quote(filepath.Join(dir, ConfigFile))
	}
	return c, &data.Error{Path: s.Config.Data, Reason: fmt.Sprintf("is not the data that %s began with: %s. %s", dir, strings.Join(wrong, "; "), advice)}
}

// someNames joins the first few names.
func someNames(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// GoOn notes in the run's folder that this program goes on with it here, with a
// trainer at the place where it does and data that was checked. What a person
// should know comes back.
func (f *Folder) GoOn(t *train.Trainer, version string, c Checked) (notes []string) {
	m := &f.Manifest
	note, err := checkConfig(f.Dir, *m, c.From)
	if err != nil {
		note = err.Error()
	}
	if note != "" {
		notes = append(notes, note)
	}
	before := Part{Version: m.Version, Engine: m.Engine}
	if m.Machine != nil {
		before.Machine = *m.Machine
	}
	if len(m.Later) > 0 {
		before = m.Later[len(m.Later)-1]
	}
	here := Part{Time: now(), Steps: stepOf(t), Version: version, Engine: t.Engine.Name(), Machine: machine.Here(), Data: strings.Join(c.Changes, "; ")}
	const bits = "so it need not end with the bits of a run that was not interrupted"
	if here.Data != "" {
		notes = append(notes, fmt.Sprintf("%s goes on with other data than it began with (%s), %s", f.Dir, here.Data, bits))
	}
	was, is := kernels(before.Engine), kernels(here.Engine)
	if was != is {
		notes = append(notes, fmt.Sprintf("%s trained with %s so far and goes on with %s, which rounds differently, %s", f.Dir, was, is, bits))
	}
	if before.Version != here.Version {
		notes = append(notes, fmt.Sprintf("%s was trained by selfcon %s so far and goes on with %s, %s", f.Dir, before.Version, here.Version, bits))
	}
	if c.From != "" {
		notes = append(notes, fmt.Sprintf("the data of %s lie at %s now, no longer at %s", f.Dir, m.Config.Data, c.From))
	}
	another := here.Data != "" || was != is || before.Version != here.Version || before.Machine != here.Machine
	if another {
		m.Later = append(m.Later, here)
	}
	if !another && c.From == "" && m.Data != nil {
		return notes // nothing is new
	}
	m.Data = &c.Now
	if err := m.Write(f.Dir); err != nil {
		notes = append(notes, fmt.Sprintf("where it goes on could not be written down: %v", err))
	}
	return notes
}

// kernels is an engine's name without its number of threads, which changes
// nothing.
func kernels(engine string) string {
	name, _, _ := strings.Cut(engine, ",")
	return name
}
