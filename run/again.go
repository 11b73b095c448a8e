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
// none.
func checkConfig(dir string, m Manifest) (note string, err error) {
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
	for _, s := range config.Settings() {
		if a, b := s.Text(&m.Config), s.Text(&c); a != b && !s.OfMachine() {
			changed = append(changed, fmt.Sprintf("%s is %s, not %s", s.Key, cmp.Or(b, "none"), cmp.Or(a, "none")))
		}
	}
	if len(changed) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s was changed: %s%s. To train with the changed ones: selfcon train --config %s", path, strings.Join(changed, ", "), rest, path), nil
}

// CheckData is a *data.Error if the data in s, which was opened for the run in
// dir, are not what the run began with; it says what differs.
func (m Manifest) CheckData(dir string, s *train.Setup) error {
	var wrong []string
	if !slices.Equal(s.Classes, m.Classes) {
		wrong = append(wrong, fmt.Sprintf("classes %s, not %s", someNames(s.Classes), someNames(m.Classes)))
	}
	if m.Data != nil {
		now, err := s.Data.Fingerprint()
		if err != nil {
			return err
		}
		for _, d := range m.Data.Differences(now) {
			if d != "other classes" || len(wrong) == 0 {
				wrong = append(wrong, d)
			}
		}
	}
	if now := s.Counts(); len(wrong) == 0 && now != m.Images {
		wrong = append(wrong, fmt.Sprintf("%d training, %d validation and %d test images, not %d, %d and %d",
			now.Train, now.Val, now.Test, m.Images.Train, m.Images.Val, m.Images.Test))
	}
	if len(wrong) == 0 {
		return nil
	}
	anew := ""
	if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err == nil {
		anew = ", or begin anew with: selfcon train --config " + filepath.Join(dir, ConfigFile)
	}
	return &data.Error{Path: m.Config.Data, Reason: fmt.Sprintf("is not the data that %s began with: %s. Put it back as it was%s", dir, strings.Join(wrong, "; "), anew)}
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
// trainer at the place where it does, and that its data is what the trainer has
// if nothing tells of it yet. What a person should know comes back.
func (f *Folder) GoOn(t *train.Trainer, version string) (notes []string) {
	m := &f.Manifest
	note, err := checkConfig(f.Dir, *m)
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
	here := Part{Time: now(), Steps: stepOf(t), Version: version, Engine: t.Engine.Name(), Machine: machine.Here()}
	was, is := kernels(before.Engine), kernels(here.Engine)
	if was != is {
		notes = append(notes, fmt.Sprintf("%s trained with %s so far and goes on with %s, which rounds differently: it will not end with the bits of a run that was not interrupted", f.Dir, was, is))
	}
	if before.Version != here.Version {
		notes = append(notes, fmt.Sprintf("%s was trained by selfcon %s so far and goes on with %s: it may not end with the bits of a run that was not interrupted", f.Dir, before.Version, here.Version))
	}
	changed := was != is || before.Version != here.Version || before.Machine != here.Machine
	if changed {
		m.Later = append(m.Later, here)
	}
	if m.Data == nil {
		if now, err := t.Setup.Data.Fingerprint(); err == nil { // an image that can't be read is told when it is needed
			m.Data, changed = &now, true
		}
	}
	if changed {
		if err := m.Write(f.Dir); err != nil {
			notes = append(notes, fmt.Sprintf("where it goes on could not be written down: %v", err))
		}
	}
	return notes
}

// kernels is an engine's name without its number of threads, which changes
// nothing.
func kernels(engine string) string {
	name, _, _ := strings.Cut(engine, ",")
	return name
}
