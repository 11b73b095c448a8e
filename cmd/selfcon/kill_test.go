//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"selfcon/checkpoint"
	"selfcon/run"
)

// These tests start the real program, stop it in every way a machine does, let it
// go on, and hold what it ends with against a run that nothing disturbed.
//
// SELFCON_TEST_KILLS is how often TestKill kills (default 36), SELFCON_TEST_SEED
// what its moments are drawn from (default: the time; failures name it). With the
// first set, TestDamage tries every damage on every file.

// built is the program, built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "selfcon-test-")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for another user, see TestReadOnly
		return "", err
	}
	path := filepath.Join(dir, "selfcon")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func theProgram(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is the program at work.
type process struct {
	*exec.Cmd
	said bytes.Buffer // stderr
	done chan error
}

// start runs the program with arguments that are separated by blanks; prepare
// may change how.
func start(t *testing.T, args string, prepare ...func(*exec.Cmd)) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(theProgram(t), strings.Fields(args)...), done: make(chan error, 1)}
	p.Stderr = &p.said
	for _, f := range prepare {
		f(p.Cmd)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.Wait() }()
	return p
}

// end waits for the program and gives its exit code, -1 if a signal ended it.
// Nothing that is said may look like a crash.
func (p *process) end(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.Process.Kill()
		<-p.done
		t.Fatalf("%v has not ended in two minutes: %s", p.Args, &p.said)
	}
	for _, bad := range []string{"panic", "goroutine ", ".go:"} {
		if strings.Contains(p.said.String(), bad) {
			t.Errorf("%v: said %q:\n%s", p.Args, bad, &p.said)
		}
	}
	return p.ProcessState.ExitCode()
}

// when waits until something is so, or the program has ended.
func (p *process) when(cond func() bool) bool {
	for !cond() {
		select {
		case err := <-p.done:
			p.done <- err
			return false
		default:
			time.Sleep(20 * time.Microsecond)
		}
	}
	return true
}

// runs is a command that must end with a code and say some texts.
func runs(t *testing.T, code int, args string, said ...string) {
	t.Helper()
	p := start(t, args)
	expect(t, p, code, said...)
}

func expect(t *testing.T, p *process, code int, said ...string) {
	t.Helper()
	if got := p.end(t); got != code {
		t.Fatalf("%v: exit code %d, want %d: %s", p.Args, got, code, &p.said)
	}
	for _, text := range said {
		if !strings.Contains(p.said.String(), text) {
			t.Errorf("%v: does not say %q but %q", p.Args, text, &p.said)
		}
	}
}

// tiny is a training of 40 steps that saves whenever it can, with everything a
// checkpoint must hold: momentum, averages, random streams, the best so far.
const tiny = "train --data sample --image 8 --width 2 --per-class 16 --batch 32 --epochs 8 --average 0.9 --validate-every 3 --save-every 1ms --lr 0.05 "

// outcome is what a run has learnt: the bytes of its model and its metrics
// without times.
type outcome struct{ model, metrics string }

func result(t *testing.T, dir string) outcome {
	t.Helper()
	if m, err := run.Open(dir); err != nil || !m.Done {
		t.Fatalf("%s: done %v, %v", dir, m.Done, err)
	}
	model, err := os.ReadFile(filepath.Join(dir, run.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	epochs, err := run.ReadEpochs(dir)
	if err != nil {
		t.Fatal(err)
	}
	var metrics strings.Builder
	for _, e := range epochs {
		e.Time, e.Speed, e.Seconds, e.Waited = time.Time{}, 0, 0, 0
		if e.Validation != nil {
			e.Validation.Seconds = 0
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		metrics.Write(append(line, '\n'))
	}
	return outcome{string(model), metrics.String()}
}

// same holds a run that was disturbed against one that was not.
func same(t *testing.T, dir string, want outcome) {
	t.Helper()
	got := result(t, dir)
	if got.model != want.model {
		t.Errorf("%s: the model is not that of the undisturbed run", dir)
	}
	if got.metrics != want.metrics {
		t.Errorf("%s: metrics\n%s\nof the undisturbed run\n%s", dir, got.metrics, want.metrics)
	}
	if there(filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")) {
		t.Errorf("%s: left its unborn folder behind", dir)
	}
	for _, place := range []string{dir, filepath.Join(dir, "checkpoints")} {
		entries, err := os.ReadDir(place)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") && e.Name() != ".lock" {
				t.Errorf("%s: left %s behind", place, e.Name())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// undisturbed is what tiny ends with, trained once for all tests.
var undisturbed outcome

func wanted(t *testing.T) outcome {
	t.Helper()
	if undisturbed.model == "" {
		dir := filepath.Join(t.TempDir(), "undisturbed")
		runs(t, exitDone, tiny+"--threads 2 --workers 2 --out "+dir)
		undisturbed = result(t, dir)
	}
	return undisturbed
}

// goOn are the arguments that go on with a run, with other threads each time.
func goOn(dir string, n int) string {
	return fmt.Sprintf("train --resume %s --threads %d --workers %d", dir, 1+n%3, 1+n/3%3)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// there is whether files of a pattern are there.
func there(pattern string) bool { found, _ := filepath.Glob(pattern); return len(found) > 0 }

// copyTree copies a folder.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func fromEnv(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, v, err)
	}
	return n
}

// victims are trainings that keep different things; they take turns in being killed.
var victims = []struct{ name, args string }{
	{"AdamW, averages, balanced batches", tiny + "--optimizer adamw --sampling balanced "},
	{"SGD, judged after each epoch, the best and one more kept", tiny + "--optimizer sgd --average 0 --validate-every 1 --keep 1 "},
	{"LARS, micro-batches, two views", tiny + "--method supcon --optimizer lars --micro-batch 16 "},
}

// phase is what a run that was killed in dir had come to.
func phase(dir string) string {
	switch points := filepath.Join(dir, "checkpoints"); {
	case !exists(dir):
		return "before there was a folder"
	case there(filepath.Join(points, ".step-*.new")) && there(filepath.Join(points, "step-*")):
		return "in a later save"
	case there(filepath.Join(points, ".step-*.new")):
		return "in the first save"
	case !there(filepath.Join(points, "step-*")):
		return "before there was a checkpoint"
	case exists(filepath.Join(points, "step-40")):
		return "after the last save"
	}
	return "between saves"
}

// TestKill kills the program in every phase of a training, and at random moments.
// What goes on ends with the bits of what was not disturbed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program dozens of times")
	}
	var want []outcome
	for _, k := range victims {
		dir := filepath.Join(t.TempDir(), "undisturbed")
		runs(t, exitDone, k.args+"--threads 2 --workers 2 --out "+dir)
		want = append(want, result(t, dir))
	}
	t.Parallel()
	kills, seed := int(fromEnv(t, "SELFCON_TEST_KILLS", 36)), fromEnv(t, "SELFCON_TEST_SEED", time.Now().UnixNano())
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("SELFCON_TEST_SEED=%d", seed)
	root := t.TempDir()
	// Each phase is hit this often in each kind of training: its moment is waited
	// for until it was.
	const least = 1
	moments := []struct {
		phase string
		cond  func(dir string) bool
	}{
		{"before there was a folder", func(dir string) bool { return there(filepath.Join(root, "."+filepath.Base(dir)+"-*")) || exists(dir) }},
		{"before there was a checkpoint", func(dir string) bool { return exists(filepath.Join(dir, run.LogFile)) }},
		{"in the first save", func(dir string) bool { return there(filepath.Join(dir, "checkpoints/.step-*.new")) }},
		{"in a later save", func(dir string) bool {
			return there(filepath.Join(dir, "checkpoints/step-*")) && there(filepath.Join(dir, "checkpoints/.step-*.new"))
		}},
		{"after the last save", func(dir string) bool { return exists(filepath.Join(dir, "checkpoints/step-40")) }},
		// Beside these: while a model is replaced, in the last save.
		{"", func(dir string) bool { return there(filepath.Join(dir, ".*.safetensors*")) }},
		{"", func(dir string) bool { return exists(filepath.Join(dir, "checkpoints/.step-40.new")) }},
	}
	hit := make([]map[string]int, len(victims))
	for i := range hit {
		hit[i] = map[string]int{}
	}
	// missing are the moments whose phases a kind of training has not been hit in
	// yet, of those that a run in dir is still to come to.
	missing := func(kind int, dir string) (out []int) {
		for i, m := range moments {
			if m.phase == "" || hit[kind][m.phase] >= least {
				continue
			}
			switch m.phase {
			case "before there was a folder":
				if exists(dir) {
					continue
				}
			case "before there was a checkpoint", "in the first save":
				if there(filepath.Join(dir, "checkpoints/step-*")) {
					continue
				}
			}
			out = append(out, i)
		}
		return out
	}
	lacking := func() bool {
		for i := range victims {
			if len(missing(i, "")) > 0 {
				return true
			}
		}
		return false
	}
	done, attempts := 0, 0
	for n := 0; done < kills || lacking(); n++ {
		if n > kills+100 {
			t.Fatalf("seed %d: %d runs, and not hit in every phase: %v", seed, n, hit)
		}
		kind := n % len(victims)
		dir := filepath.Join(root, fmt.Sprintf("run-%d", n))
		for i := 0; ; i++ {
			attempts++
			args := goOn(dir, attempts)
			if !exists(dir) {
				args = victims[kind].args + "--out " + dir
			}
			p := start(t, args)
			wanted := missing(kind, dir)
			if i >= 12 || done >= kills && len(wanted) == 0 { // enough of this run
				expect(t, p, exitDone)
				break
			}
			delay := time.Duration(random.Int64N(int64(250 * time.Millisecond)))
			if k := random.IntN(2 * len(moments)); len(wanted) > 0 {
				p.when(func() bool { return moments[wanted[0]].cond(dir) })
				delay = 0
			} else if k < len(moments) {
				p.when(func() bool { return moments[k].cond(dir) })
				delay = time.Duration(random.Float64() * random.Float64() * float64(2*time.Millisecond))
			}
			killed := false
			select {
			case err := <-p.done:
				p.done <- err
			case <-time.After(delay):
				p.Process.Kill()
				killed = true
			}
			code := p.end(t)
			if code == exitDone {
				break
			}
			if !killed || code != -1 {
				t.Fatalf("seed %d: %v: exit code %d: %s", seed, p.Args, code, &p.said)
			}
			done++
			hit[kind][phase(dir)]++
			if exists(dir) && !exists(filepath.Join(dir, run.ManifestFile)) {
				t.Fatalf("seed %d: a folder without %s", seed, run.ManifestFile)
			}
			if m, err := run.Open(dir); err == nil && m.Done { // killed on its way out
				hit[kind]["on its way out"]++
				break
			}
			if path := filepath.Join(dir, run.ModelFile); exists(path) { // always whole
				if err := readModel(path); err != nil {
					t.Errorf("seed %d: killed %s: %v", seed, phase(dir), err)
				}
			}
		}
		same(t, dir, want[kind])
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, victims[kind].name)
		}
	}
	for i, k := range victims {
		t.Logf("%s: %v", k.name, hit[i])
	}
	t.Logf("%d kills", done)
}

func readModel(path string) error { _, err := checkpoint.ReadTensors(path); return err }

// stopped makes a run that was interrupted with two whole checkpoints.
func stopped(t *testing.T, dir string) {
	t.Helper()
	p := start(t, tiny+"--out "+dir)
	p.when(func() bool { // after the first epoch, which has a line in the metrics
		found := newest(t, dir)
		return len(found) >= 2 && stepOf(found[1]) >= 5
	})
	p.Process.Signal(os.Interrupt)
	expect(t, p, exitInterrupted, "and saved; go on with: selfcon train --resume "+dir)
}

// newest lists the checkpoints of a run, the newest first.
func newest(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "checkpoints/step-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b string) int { return stepOf(b) - stepOf(a) })
	return found
}

func stepOf(path string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "step-"))
	return n
}

// TestDamage truncates, empties, removes and flips one bit of every file of a
// checkpoint: the one before is gone on from, which is said, and the end is the
// same; the beginning, if all are damaged.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program dozens of times")
	}
	want := wanted(t)
	t.Parallel()
	seed := fromEnv(t, "SELFCON_TEST_SEED", time.Now().UnixNano())
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	whole := filepath.Join(t.TempDir(), "whole")
	stopped(t, whole)
	damage := map[string]func(path string, raw []byte) error{
		"flip": func(path string, raw []byte) error {
			raw[random.IntN(len(raw))] ^= 1 << random.IntN(8)
			return os.WriteFile(path, raw, 0o644)
		},
		"truncate": func(path string, raw []byte) error { return os.Truncate(path, random.Int64N(int64(len(raw)))) },
		"remove":   func(path string, _ []byte) error { return os.Remove(path) },
	}
	try := func(name string, all bool, file string, how func(string, []byte) error) {
		dir := filepath.Join(t.TempDir(), "run")
		copyTree(t, whole, dir)
		points := newest(t, dir)
		if len(points) < 2 {
			t.Fatalf("checkpoints %v, want 2", points)
		}
		from := filepath.Base(points[1])
		hurt := points[:1]
		if all {
			from, hurt = "the beginning", points
		}
		for _, point := range hurt {
			path := filepath.Join(point, file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := how(path, raw); err != nil {
				t.Fatal(err)
			}
		}
		runs(t, exitDone, goOn(dir, random.IntN(9)), filepath.Base(hurt[0])+" is damaged", "going on from "+from)
		same(t, dir, want)
		if !exists(hurt[0] + ".damaged") {
			t.Errorf("seed %d: %s of %s: was not set aside", seed, name, file)
		}
	}
	long := os.Getenv("SELFCON_TEST_KILLS") != ""
	for i, file := range []string{"SHA256SUMS", run.MetricsFile, run.PlaceFile, run.StateFile} {
		try("flip", false, file, damage["flip"])
		if long || i%2 == 0 {
			try("remove", false, file, damage["remove"])
		}
		if long || i%2 == 1 {
			try("truncate", false, file, damage["truncate"])
		}
	}
	try("flip", true, run.StateFile, damage["flip"])
}

// limit runs the program with a limit of a file's size, as a disk that is full
// gives it; in blocks of 512 bytes.
func limit(blocks int) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d; exec "$0" "$@"`, blocks), c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}
}

// TestWriteErrors: where files can't be written whole the training goes on and
// says so; the end is an error that tells what to do, and after that the bits are
// the same.
func TestWriteErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	want := wanted(t)
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "kept")
	stopped(t, kept)
	size := func(path string) int {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	state, model := size(filepath.Join(newest(t, kept)[0], run.StateFile)), size(filepath.Join(kept, run.ModelFile))
	for _, c := range []struct {
		name   string
		blocks int
		said   string
	}{
		{"no room for a checkpoint", (model+state)/2/512 + 1, "the run is trained and its model saved"},
		{"no room for the model either", model / 2 / 512, "the run is trained, but could not be saved"},
	} {
		for _, resumed := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "run")
			args, whole := tiny+"--out "+dir, "no checkpoint is saved yet"
			if resumed {
				copyTree(t, kept, dir)
				args, whole = goOn(dir, 1), "the last whole checkpoint is that after step"
			}
			p := start(t, args, limit(c.blocks))
			expect(t, p, exitFailed, "could not be written: "+filepath.Join(dir, run.CheckpointsDir, "step-"), "file too large", whole, c.said, "go on with: selfcon train --resume "+dir)
			if said := p.said.String(); strings.Contains(said, ".new") {
				t.Errorf("%s: names a temporary folder: %s", c.name, said)
			}
			if n := strings.Count(p.said.String(), "the training goes on"); n != 1 {
				t.Errorf("%s: warned %d times", c.name, n)
			}
			runs(t, exitDone, goOn(dir, 2))
			same(t, dir, want)
		}
	}
	// A folder that can't be made.
	p := start(t, tiny+"--out "+filepath.Join(t.TempDir(), "run"), limit(0))
	expect(t, p, exitFailed, "run.json", "file too large")
}

// TestFullDisk: the same on a file system that is full, which also has no room
// for logs and metrics.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "selfcon-test", disk).CombinedOutput(); err != nil {
		t.Skipf("needs to mount a small file system: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	want := wanted(t)
	t.Parallel()
	dir := filepath.Join(disk, "run")
	p := start(t, tiny+"--out "+dir)
	expect(t, p, exitFailed, "no space left on device", "when this is mended, go on with: selfcon train --resume "+dir)
	if out, err := exec.Command("mount", "-o", "remount,size=64m", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	runs(t, exitDone, goOn(dir, 1))
	same(t, dir, want)
}

// TestReadOnly: a folder that becomes read-only during a training, of a user to
// whom that means something.
func TestReadOnly(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	want := wanted(t)
	t.Parallel()
	root := t.TempDir()
	user := func(*exec.Cmd) {}
	if os.Getuid() == 0 {
		const nobody = 65534
		user = func(c *exec.Cmd) {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			c.Dir = "/"
		}
		if err := errors.Join(os.Chmod(filepath.Dir(root), 0o755), os.Chown(root, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "run")
	p := start(t, tiny+"--out "+dir, user)
	if !p.when(func() bool { return there(filepath.Join(dir, "checkpoints/step-*")) }) {
		t.Fatalf("ended before a checkpoint: %s", &p.said)
	}
	lock := func(mode fs.FileMode) {
		for _, d := range []string{dir, filepath.Join(dir, "checkpoints")} {
			if err := os.Chmod(d, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	lock(0o555)
	defer lock(0o755)
	expect(t, p, exitFailed, "permission denied", "the training goes on, the last whole checkpoint is that after step", "when this is mended, go on with")
	lock(0o755)
	p = start(t, goOn(dir, 1), user)
	expect(t, p, exitDone)
	same(t, dir, want)

	// One that can't take what is found out: that is said before it is looked for.
	lock(0o555)
	p = start(t, "probe "+dir, user)
	expect(t, p, exitFailed, "could not be saved", "permission denied", "--label-fraction")
	lock(0o755)

	// One that is read-only from the start.
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(root, 0o755)
	p = start(t, tiny+"--out "+filepath.Join(root, "other"), user)
	expect(t, p, exitFailed, root+" takes no new folder (permission denied); name one elsewhere with --out")
	p = start(t, "export --out "+filepath.Join(root, "other")+" "+dir, user)
	expect(t, p, exitFailed, "permission denied")
}

// TestHalfFolders: an export or import that could not be written leaves nothing,
// and a probe prints what it could not save.
func TestHalfFolders(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	root := t.TempDir()
	dir, out := filepath.Join(root, "run"), filepath.Join(root, "out")
	runs(t, exitDone, tiny+"--out "+dir)
	for _, args := range []string{"export", "export --format pth", "import"} {
		from := dir
		if args == "import" {
			from = filepath.Join(dir, run.ModelFile)
		}
		p := start(t, args+" --out "+out+" "+from, limit(8))
		expect(t, p, exitFailed, "file too large")
		if exists(out) {
			t.Errorf("%s left %s", args, out)
		}
	}
	var printed bytes.Buffer
	p := start(t, "probe --epochs 1 "+dir, limit(1), func(c *exec.Cmd) { c.Stdout = &printed })
	expect(t, p, exitFailed, "the results could not be saved", "file too large")
	if !strings.Contains(printed.String(), "backbone") {
		t.Errorf("printed %q", &printed)
	}
}

// TestDataGone: the images vanish during a training; what was learnt is saved,
// and when they are back the end is the same.
func TestDataGone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	t.Parallel()
	root := t.TempDir()
	photos, away := filepath.Join(root, "photos"), filepath.Join(root, "away")
	for i := range 60 {
		pic := image.NewGray(image.Rect(0, 0, 12, 12))
		for j := range pic.Pix {
			pic.Pix[j] = uint8(j * (i + 1))
		}
		pic.SetGray(0, 0, color.Gray{uint8(i)})
		var b bytes.Buffer
		if err := png.Encode(&b, pic); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(photos, []string{"train", "train", "test"}[i%3], []string{"even", "odd"}[i/3%2], strconv.Itoa(i)+".png")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := "train --data imagefolder:" + photos + " --image 8 --width 2 --batch 8 --epochs 30 --save-every 1ms --lr 0.02 --out "
	whole, dir := filepath.Join(root, "whole"), filepath.Join(root, "run")
	runs(t, exitDone, args+whole)
	p := start(t, args+dir)
	p.when(func() bool { return there(filepath.Join(dir, "checkpoints/step-*")) })
	if err := os.Rename(photos, away); err != nil {
		t.Fatal(err)
	}
	expect(t, p, exitBadData, photos, "no such file", "saved: when this is mended, go on with: selfcon train --resume "+dir)
	runs(t, exitBadData, goOn(dir, 1), photos+": no such file or folder")
	if err := os.Rename(away, photos); err != nil {
		t.Fatal(err)
	}
	runs(t, exitDone, goOn(dir, 2))
	same(t, dir, result(t, whole))
}

// TestSignals: the first signal saves, a second one ends the program at once, and
// what was saved before is whole; with nohup the terminal may go.
func TestSignals(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	want := wanted(t)
	t.Parallel()
	root := t.TempDir()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP) // or what is started ignores it, too, where these tests run under nohup
	defer signal.Stop(hangups)
	saved := func(dir string) func() bool {
		return func() bool { return there(filepath.Join(dir, "checkpoints/step-*")) }
	}
	for i, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		dir := filepath.Join(root, s.String())
		dir = strings.ReplaceAll(dir, " ", "-")
		p := start(t, tiny+"--out "+dir)
		p.when(saved(dir))
		p.Process.Signal(s)
		expect(t, p, exitInterrupted, "interrupted after ", "go on with: selfcon train --resume "+dir)
		if i, err := inspect(dir); err != nil || i.Seconds <= 0 || i.Speed <= 0 || i.Peak <= 0 {
			t.Errorf("interrupted, it took %g s: %v", i.Seconds, err)
		}
		runs(t, exitDone, goOn(dir, i))
		same(t, dir, want)
	}
	// Twice, within a step of some seconds.
	dir := filepath.Join(root, "twice")
	p := start(t, "train --data sample --width 64 --batch 512 --epochs 1 --lr 0.01 --threads 1 --out "+dir)
	if !p.when(func() bool { return exists(filepath.Join(dir, run.LogFile)) }) {
		t.Fatalf("ended early: %s", &p.said)
	}
	time.Sleep(time.Second)
	p.when(func() bool { // again and again: on a busy machine two may arrive as one
		p.Process.Signal(unix.SIGTERM)
		time.Sleep(50 * time.Millisecond)
		return false
	})
	expect(t, p, exitInterrupted, "stopped at once, without saving")
	// Twice, at random moments of saves: one of both ends.
	for i := range 2 {
		dir := filepath.Join(root, "again"+strconv.Itoa(i))
		p := start(t, tiny+"--out "+dir)
		p.when(saved(dir))
		p.Process.Signal(unix.SIGINT)
		time.Sleep(time.Duration(i) * time.Millisecond)
		p.Process.Signal(unix.SIGINT)
		expect(t, p, exitInterrupted)
		runs(t, exitDone, goOn(dir, i))
		same(t, dir, want)
	}
	dir = filepath.Join(root, "nohup")
	p = start(t, tiny+"--out "+dir, func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	})
	p.when(saved(dir))
	p.Process.Signal(unix.SIGHUP)
	expect(t, p, exitDone)
	same(t, dir, want)
}

// TestDeadReader: nobody reads what the program prints any more (a pager that was
// left, head): a training goes on to its end, with all lines in its log, and other
// commands end in peace.
func TestDeadReader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	want := wanted(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	lines, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, tiny+"--log-format json --out "+dir, func(c *exec.Cmd) { c.Stdout, c.Stderr = to, to })
	to.Close()
	if _, err := lines.Read(make([]byte, 100)); err != nil { // as head -1
		t.Fatal(err)
	}
	lines.Close()
	expect(t, p, exitDone)
	same(t, dir, want)
	if log, err := os.ReadFile(filepath.Join(dir, run.LogFile)); err != nil || !strings.Contains(string(log), "epoch 8/8") || !strings.Contains(string(log), "trained 8 epochs") {
		t.Errorf("%s, %v", log, err)
	}
	for _, args := range []string{"version", "help", "presets"} {
		lines, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		lines.Close()
		p := start(t, args, func(c *exec.Cmd) { c.Stdout = to })
		to.Close()
		expect(t, p, exitDone)
		if p.said.Len() > 0 {
			t.Errorf("%s: said %q", args, &p.said)
		}
	}
}

// TestFullOutput: a result that could not be printed is a failure.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if testing.Short() || err != nil {
		t.Skipf("starts the program, with a device that is always full: %v", err)
	}
	defer full.Close()
	for _, args := range []string{"version", "help", "models", "config", tiny + "--out " + filepath.Join(t.TempDir(), "run")} {
		p := start(t, args, func(c *exec.Cmd) { c.Stdout = full })
		expect(t, p, exitFailed, "no space left on device")
	}
}

// TestTwoProcesses: a folder has one owner.
func TestTwoProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	dir := filepath.Join(t.TempDir(), "run")
	p := start(t, strings.Replace(tiny, "--epochs 8", "--epochs 10000", 1)+"--out "+dir)
	p.when(func() bool { return there(filepath.Join(dir, "checkpoints/step-*")) })
	runs(t, exitUsage, goOn(dir, 0), "another process is training in "+dir+": process "+strconv.Itoa(p.Process.Pid))
	runs(t, exitUsage, tiny+"--out "+dir, dir+" is there already and not empty")
	p.Process.Signal(os.Interrupt)
	expect(t, p, exitInterrupted)
}

// TestCompareKilled: a comparison's folder has one owner, and when that is killed
// the training that it has started saves and ends too; then the comparison goes on.
func TestCompareKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	dir := filepath.Join(t.TempDir(), "c")
	args := "compare --data sample --methods ce,supcon-s --image 8 --width 2 --per-class 16 --batch 32 --epochs 100000 --seeds 1 --lr 0.01 --save-every 1ms --out " + dir
	training := filepath.Join(dir, "ce-100000ep-s1")
	p := start(t, args)
	if !p.when(func() bool { return there(filepath.Join(training, "checkpoints/step-*")) }) {
		t.Fatalf("ended early: %s", &p.said)
	}
	runs(t, exitUsage, args, "another process is comparing in "+dir+": process "+strconv.Itoa(p.Process.Pid))
	p.Process.Kill()
	expect(t, p, -1, "interrupted after ") // the training has the same stderr, so that this waits for it
	if m, err := run.Open(training); err != nil || m.Done || run.Busy(training) {
		t.Errorf("done %v, busy %v, %v", m.Done, run.Busy(training), err)
	}
	p = start(t, args)
	if !p.when(func() bool { return run.Busy(training) }) {
		t.Fatalf("ended early: %s", &p.said)
	}
	time.Sleep(100 * time.Millisecond)
	p.Process.Signal(os.Interrupt)
	expect(t, p, exitInterrupted, "1 of 2: ce-100000ep-s1, resumed", "interrupted after ", "the same command goes on")
	if run.Busy(training) {
		t.Error("the training goes on")
	}
}

// TestDataFullDisk: a disk without room leaves no part of a file, and the message
// names the file that was asked for.
func TestDataFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program")
	}
	dir := t.TempDir()
	for out, args := range map[string]string{"x.pack": "data pack sample ", "views.png": "data show --images 20 --views 20 sample --out "} {
		p := start(t, args+filepath.Join(dir, out), limit(8))
		expect(t, p, exitFailed, out, "file too large")
		if strings.Contains(p.said.String(), ".selfcon-pack") {
			t.Errorf("names its temporary file: %s", p.said.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
