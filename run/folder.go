package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/internal/reason"
	"selfcon/internal/shell"
	"selfcon/train"
)

// Folder is a run's folder that this process trains in; no other one can until
// it is closed. It is used by one goroutine.
//
// What it writes besides the final model may fail, for want of space say,
// without an end to the training: Warn is told, once until it works again, and
// the last whole checkpoint stays.
type Folder struct {
	Dir      string
	Manifest Manifest
	Warn     func(text string) // may be nil
	Log      Log

	lock    *os.File
	metrics []byte // the lines of the metrics' file, as they should be
	rewrite bool   // the file does not have them

	saved    *train.State    // of the last whole checkpoint; nil: there is none yet
	followed bool            // what comes with it is written too
	writing  chan saveResult // has or gets the result of the save under way; nil: none is
	failing  map[string]bool // what could not be written last time
}

type saveResult struct {
	state *train.State
	err   error
}

// unused refuses a folder that is there and has more in it than the given names.
func unused(dir string, but ...string) error {
	entries, err := os.ReadDir(dir)
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return slices.Contains(but, e.Name()) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, syscall.ENOTDIR):
		return &config.Error{Setting: "out", Reason: dir + " can't be a folder: there is a file of that name or above it; name another folder"}
	case err != nil:
		return fmt.Errorf("the folder %s can't be looked into (%w); name another with --out", dir, reason.Of(err))
	case len(entries) > 0:
		return &config.Error{Setting: "out", Reason: dir + " is there already and not empty; name another folder, or remove it"}
	}
	return nil
}

// NewFolder makes an empty folder for what is no run itself; dir must not be
// there or be empty. undo takes away what was written into it since and, unless it
// was there before, the folder, with those above it that were made for it.
func NewFolder(dir string) (undo func() error, err error) {
	if err := unused(dir); err != nil {
		return nil, err
	}
	_, absent := os.Stat(dir)
	unmake, err := makeFolder(dir)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if absent != nil {
		return func() error {
			err := os.RemoveAll(dir)
			unmake()
			return err
		}, nil
	}
	return func() error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return err
	}, nil
}

// makeFolder makes a folder and those above it that are not there; unmake removes
// what it made, as far as nothing is in it. Nothing stays if it fails.
func makeFolder(dir string) (unmake func(), err error) {
	var absent []string // from the lowest up
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		absent = append(absent, at)
		if at == filepath.Dir(at) { // a drive that is not there
			break
		}
	}
	unmake = func() {
		for _, path := range absent {
			os.Remove(path) // refused where something is in it
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		unmake()
		return nil, err
	}
	return unmake, nil
}

// unwritable words the error of making a new folder, dir, nil if there is none.
func unwritable(dir string, err error) error {
	var p *fs.PathError
	if !errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("the folder %s can't be made: %s takes no new folder (%w); name one elsewhere with --out", dir, filepath.Dir(p.Path), p.Err)
}

// Claim keeps other processes out of a folder of what is no run itself until what
// it gives is closed. The folder is known by a file that the caller writes into it
// after that; one without it must not be there or be empty. doing is what the
// others are told.
func Claim(dir, file, doing string) (io.Closer, error) {
	_, err := os.Stat(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		if err = unused(dir, lockName); err == nil {
			err = unwritable(dir, os.MkdirAll(dir, 0o755))
		}
	}
	if err != nil {
		return nil, err
	}
	return lock(dir, doing)
}

// Create makes a new folder for a run, whole or not at all: dir itself, which
// must not be there or be empty. What processes that were killed while they made
// one of this name have left beside it is cleared away.
func Create(dir string, m Manifest) (made *Folder, err error) {
	if err := unused(dir); err != nil {
		return nil, err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	unmake, err := makeFolder(parent)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	defer func() {
		if made == nil {
			unmake()
		}
	}()
	clearUnborn(dir)
	for tries := 1; ; tries++ {
		fresh, err := os.MkdirTemp(parent, unbornPrefix(dir))
		if err != nil {
			return nil, unwritable(dir, err)
		}
		f := &Folder{Dir: fresh, Manifest: m}
		if err = f.create(dir); err == nil {
			return f, nil
		}
		f.Close()
		err = errors.Join(err, os.RemoveAll(fresh))
		// Another process that makes a folder of this name may have cleared ours
		// away before it had its lock.
		if cleared := errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*config.Error)); !cleared || tries == 3 {
			return nil, fmt.Errorf("the folder %s can't be made: %w", dir, err)
		}
	}
}

func (f *Folder) create(dir string) (err error) {
	if f.lock, err = lock(f.Dir, training); err != nil { // so that nobody clears it away
		return err
	}
	if err := os.Chmod(f.Dir, 0o755); err != nil {
		return err
	}
	if err := f.Manifest.Write(f.Dir); err != nil {
		return err
	}
	if err := writeConfig(f.Dir, f.Manifest); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // the empty one
		return err
	}
	if runtime.GOOS == "windows" { // which renames no folder with an open file in it
		f.lock.Close()
	}
	if err := os.Rename(f.Dir, dir); err != nil {
		return err
	}
	f.Dir = dir
	if runtime.GOOS == "windows" {
		if f.lock, err = lock(dir, training); err != nil {
			return err
		}
	}
	f.Log.open(dir)
	return nil
}

// training is what a process does in a run's folder.
const training = "training"

// unbornPrefix is what the name of a folder begins with, beside dir, that is to
// become dir; digits follow.
func unbornPrefix(dir string) string { return "." + filepath.Base(dir) + "-" }

// unbornFor is how long a folder that is to become a run's may take where there
// is no lock: older programs took it later, some file systems have none.
const unbornFor = time.Minute

// clearUnborn removes the folders that were to become dir and whose processes
// are gone. What can't be removed is in nobody's way.
func clearUnborn(dir string) {
	parent := filepath.Dir(filepath.Clean(dir))
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), unbornPrefix(dir))
		path := filepath.Join(parent, e.Name())
		if ok && e.IsDir() && digits != "" && strings.Trim(digits, "0123456789") == "" && abandoned(path) {
			os.RemoveAll(path)
		}
	}
}

// abandoned is whether a folder has nothing in it but what Create puts there, and
// its process is gone.
func abandoned(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		name := e.Name()
		if name != lockName && name != ManifestFile && name != ConfigFile && !strings.HasPrefix(name, "."+ManifestFile) && !strings.HasPrefix(name, "."+ConfigFile) {
			return false
		}
	}
	if len(entries) == 0 {
		return true
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		err = lockFile(f)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoLocks) {
		st, err := os.Stat(dir)
		return err == nil && time.Since(st.ModTime()) > unbornFor
	}
	return err == nil
}

// Reopen opens the folder of a run that is not done, to go on with it, and
// clears away what a process that was killed left half done.
func Reopen(dir string) (*Folder, error) {
	if _, err := Open(dir); err != nil { // no lock in a folder that is none of ours
		return nil, err
	}
	held, err := lock(dir, training)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir, lock: held}
	if err := f.reopen(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Folder) reopen() (err error) {
	if f.Manifest, err = Open(f.Dir); err != nil {
		return err
	}
	if err := checkpoint.MendFolders(filepath.Join(f.Dir, CheckpointsDir)); err != nil {
		return err
	}
	for _, dir := range []string{f.Dir, filepath.Join(f.Dir, CheckpointsDir)} {
		if err := removeUnfinished(dir); err != nil {
			return err
		}
	}
	f.Log.open(f.Dir)
	return nil
}

// removeUnfinished removes the files in dir that were to replace others.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Name() != lockName && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close waits for a save under way and lets others train in the folder.
func (f *Folder) Close() {
	if f.writing != nil {
		f.attempt(CheckpointsDir, f.wait())
	}
	f.Log.close()
	if f.lock != nil {
		f.lock.Close()
		f.lock = nil
	}
}

// attempt notes whether something could be written, and warns if it is news.
func (f *Folder) attempt(what string, err error) {
	if f.failing == nil {
		f.failing = map[string]bool{}
	}
	was := f.failing[what]
	f.failing[what] = err != nil
	if f.Warn == nil {
		return
	}
	switch {
	case err != nil && !was:
		f.Warn(fmt.Sprintf("%s could not be written: %v; the training goes on, %s", what, err, f.whole()))
	case err == nil && was:
		f.Warn(what + " can be written again")
	}
}

// Saved is whether there is a whole checkpoint.
func (f *Folder) Saved() bool { return f.saved != nil }

// Before is the last whole checkpoint that is from before at, a place in the
// training, after waiting for one that is being written: its folder, where the
// training stood and the mean loss of the epoch until then; an empty dir if there
// is none.
func (f *Folder) Before(at train.Place) (dir string, then train.Place, loss float64, err error) {
	if f.writing != nil {
		f.attempt(CheckpointsDir, f.wait())
	}
	all, err := steps(f.Dir)
	for _, step := range slices.Backward(all) {
		dir := filepath.Join(f.Dir, CheckpointsDir, stepName(step))
		s, _, metrics, err := readCheckpoint(dir)
		if err != nil || s.State.Place == at {
			continue
		}
		if s.State.Batch > 0 {
			return dir, s.State.Place, s.State.LossSum / float64(s.State.Batch), nil
		}
		epochs, err := parseEpochs(filepath.Join(dir, MetricsFile), metrics)
		if err == nil && len(epochs) > 0 {
			loss = epochs[len(epochs)-1].Loss
		}
		return dir, s.State.Place, loss, err
	}
	return "", then, 0, err
}

// whole says what there is to go on from.
func (f *Folder) whole() string {
	if f.saved == nil {
		return "no checkpoint is saved yet"
	}
	return fmt.Sprintf("the last whole checkpoint is that %s", f.saved.After())
}

// Epoch adds a line to the run's metrics.
func (f *Folder) Epoch(e Epoch) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	f.metrics = append(f.metrics, line...)
	if f.rewrite {
		f.attempt(MetricsFile, f.rewriteMetrics())
		return nil
	}
	err = appendLine(filepath.Join(f.Dir, MetricsFile), line)
	f.rewrite = err != nil
	f.attempt(MetricsFile, err)
	return nil
}

// rewriteMetrics makes the metrics' file what it should be.
func (f *Folder) rewriteMetrics() error {
	path := filepath.Join(f.Dir, MetricsFile)
	f.rewrite = false
	if text, err := os.ReadFile(path); err == nil && bytes.Equal(text, f.metrics) || errors.Is(err, fs.ErrNotExist) && len(f.metrics) == 0 {
		return nil
	}
	err := checkpoint.WriteText(path, f.metrics)
	f.rewrite = err != nil
	return err
}

// Save takes a copy of the trainer and writes it as a checkpoint while the
// training goes on. It waits for an earlier one that is still being written, and
// Warn is told if that failed. If nothing has happened since the last one it
// does nothing.
func (f *Folder) Save(t *train.Trainer) error {
	if f.writing != nil {
		f.attempt(CheckpointsDir, f.wait())
	}
	there := f.saved != nil && reflect.DeepEqual(*f.saved, t.State)
	if there && f.followed {
		return nil
	}
	s, err := takeSnapshot(t, f.Manifest, f.metrics)
	if err != nil {
		return err
	}
	f.writing = make(chan saveResult, 1)
	go func(m Manifest, result chan saveResult) {
		if !there {
			if err := s.write(f.Dir); err != nil {
				result <- saveResult{nil, err}
				return
			}
		}
		result <- saveResult{&s.state.State, f.follow(s, m)}
	}(f.Manifest, f.writing)
	return nil
}

// wait waits for the save under way, if one is, and gives its error.
func (f *Folder) wait() error {
	if f.writing == nil {
		return nil
	}
	r := <-f.writing
	f.writing = nil
	if r.state != nil {
		f.saved, f.followed = r.state, r.err == nil
	}
	return r.err
}

// SaveNow is Save that waits until everything is written, the metrics too.
func (f *Folder) SaveNow(t *train.Trainer) error {
	if err := f.Save(t); err != nil {
		return err
	}
	err := f.wait()
	if f.rewrite {
		err = errors.Join(err, f.rewriteMetrics())
	}
	return err
}

// follow writes what comes with a new checkpoint: the names of the last and the
// best, the model and the summary; and removes what is not kept.
func (f *Folder) follow(s *snapshot, m Manifest) error {
	folder := filepath.Join(f.Dir, CheckpointsDir)
	if err := checkpoint.WriteText(filepath.Join(folder, LastFile), []byte(stepName(s.state.Step)+"\n")); err != nil {
		return err
	}
	if b := s.state.State.Best; b != nil && b.Epoch == s.state.State.Epoch && s.state.State.Batch == 0 {
		if err := checkpoint.WriteText(filepath.Join(folder, BestFile), []byte(stepName(s.state.Step)+"\n")); err != nil {
			return err
		}
	}
	if err := writeModel(f.Dir, s.model(m)); err != nil {
		return err
	}
	if err := writeSummary(f.Dir, s.metrics); err != nil {
		return err
	}
	return f.prune(max(1, m.Config.Keep))
}

// writeModel replaces the model. The classifiers of a probe are removed: they
// were trained on the features of the model that is replaced.
func writeModel(dir string, model checkpoint.File) error {
	for _, name := range []string{ProbeFile, ResultsFile} {
		if err := remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return checkpoint.WriteTensors(filepath.Join(dir, ModelFile), model)
}

// prune removes all checkpoints but the newest, as many as given, and the best.
func (f *Folder) prune(keep int) error {
	all, err := steps(f.Dir)
	if err != nil {
		return err
	}
	best, err := pointer(f.Dir, BestFile)
	if err != nil {
		return err
	}
	for _, step := range all[:max(0, len(all)-keep)] {
		if name := stepName(step); name != best {
			if err := checkpoint.RemoveFolder(filepath.Join(f.Dir, CheckpointsDir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pointer reads the name of a checkpoint out of last or best; empty if there is none.
func pointer(dir, file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, CheckpointsDir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// Finish saves a run whose last step is done: the last checkpoint, the model and
// the manifest. On a full disk there may be room for the model though there is
// none for a checkpoint; then that is saved, and the error tells of the rest.
func (f *Folder) Finish(t *train.Trainer) error {
	if err := f.SaveNow(t); err != nil {
		what := "the run is trained, but could not be saved"
		if s, again := takeSnapshot(t, f.Manifest, f.metrics); again == nil && writeModel(f.Dir, s.model(f.Manifest)) == nil {
			what = fmt.Sprintf("the run is trained and its model saved, %s, but not the rest", filepath.Join(f.Dir, ModelFile))
		}
		return fmt.Errorf("%s: %w; %s: when this is mended, go on with: selfcon train --resume %s", what, err, f.whole(), shell.Quote(f.Dir))
	}
	f.Manifest.Done = true
	if err := f.Manifest.Write(f.Dir); err != nil {
		return fmt.Errorf("the run is trained and saved, but it could not be noted that it is done: %w", err)
	}
	return nil
}

// Writable is an error if no file can be made in dir.
func Writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("no file can be made there: %w", reason.Of(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// remove deletes a file if there is one.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
