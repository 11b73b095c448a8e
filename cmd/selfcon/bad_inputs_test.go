//go:build unix

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"selfcon/run"
)

// badInput is a row of docs/bad-inputs.md.
type badInput struct {
	what string // in the reader's words
	args string // of the command, separated by blanks
	code int
}

// corner makes the files that the rows name, in the working folder.
type corner struct{ t *testing.T }

func (c corner) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c corner) write(path string, body []byte) {
	c.t.Helper()
	c.must(os.MkdirAll(filepath.Dir(path), 0o755))
	c.must(os.WriteFile(path, body, 0o644))
}

// photos are two classes of two good images; change is what is wrong with them.
func (c corner) photos(dir string, change func()) {
	for _, name := range []string{"train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/2.png", "test/cat/1.png", "test/dog/1.png"} {
		c.write(filepath.Join(dir, name), aPNG(8, 8))
	}
	if change != nil {
		change()
	}
}

func aPNG(w, h int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, w, h))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func aJPEG() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 40, 40)), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func aGIF() []byte {
	var b bytes.Buffer
	if err := gif.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 40, 40)), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type packed struct {
	name string
	body []byte
}

func tarBytes(files ...packed) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body))}); err != nil {
			panic(err)
		}
		w.Write(f.body)
	}
	w.Close()
	return b.Bytes()
}

func zipBytes(files ...packed) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.name}) // stored, as torch.save does
		if err != nil {
			panic(err)
		}
		to.Write(f.body)
	}
	w.Close()
	return b.Bytes()
}

func gzBytes(raw []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(raw)
	w.Close()
	return b.Bytes()
}

// samples are the images of the data package's tests, by name.
func samples(t *testing.T, repo string) map[string][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(repo, "data/testdata/images.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func bigEndian(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// safetensors is a file of this header and so many bytes of data.
func safetensors(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// torchZip is a file of torch.save's form with this pickle.
func torchZip(pickle string) []byte {
	return zipBytes(packed{"archive/data.pkl", []byte(pickle)}, packed{"archive/version", []byte("3\n")}, packed{"archive/byteorder", []byte("little")})
}

// TestBadInputs tries what users get wrong and holds command, message and exit
// code against docs/bad-inputs.md, which go test -update writes.
func TestBadInputs(t *testing.T) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	c := corner{t}
	var doc strings.Builder
	doc.WriteString("# Bad inputs\n\nWhat the program says to what it can't use: the command, its message (after `selfcon:`) and its exit code " +
		"(1 failed, 2 wrong usage or configuration, 3 bad data). `TestBadInputs` tries every row and compares; `go test ./cmd/selfcon -run TestBadInputs -update` writes this file. `…/` is the working folder.\n" + memoryBounds)
	rows := 0
	seen := map[string]bool{}
	for _, section := range []struct {
		title string
		rows  []badInput
	}{
		{"The command line", commandLine()},
		{"Settings", wrongSettings()},
		{"Configuration files", c.configurations()},
		{"Folders of images", c.folders()},
		{"Image files", c.images(samples(t, repo))},
		{"Archives and shards", c.archives()},
		{"Tables of images", c.tables()},
		{"IDX, CIFAR, Parquet, packed sets", c.binaries(repo)},
		{"Weights from elsewhere", c.weights()},
		{"Runs", c.runs()},
		{"Looking at data", c.looking()},
	} {
		fmt.Fprintf(&doc, "\n## %s\n\n| what | `selfcon …` | message | code |\n| --- | --- | --- | --- |\n", section.title)
		for _, r := range section.rows {
			rows++
			_, stderr, code := call(t.Context(), strings.Fields(r.args)...)
			message := lastMessage(stderr)
			message = strings.ReplaceAll(message, dir+"/", "…/")
			message = strings.ReplaceAll(message, dir, "…")
			for _, f := range unsteady {
				message = f.pattern.ReplaceAllString(message, f.with)
			}
			if code != r.code {
				t.Errorf("%s (selfcon %s): exit code %d, want %d: %s", r.what, r.args, code, r.code, message)
			}
			for _, bad := range []string{"panic", "goroutine ", ".go:", "runtime error", "%!", "<nil>"} {
				if strings.Contains(stderr, bad) {
					t.Errorf("%s (selfcon %s): says %q: %s", r.what, r.args, bad, stderr)
				}
			}
			if len(message) < 15 {
				t.Errorf("%s (selfcon %s): says no more than %q", r.what, r.args, message)
			}
			if seen[r.what] {
				t.Errorf("%s: is there twice", r.what)
			}
			seen[r.what] = true
			cell := strings.NewReplacer("|", `\|`, "\n", "<br>", "<", "&lt;")
			fmt.Fprintf(&doc, "| %s | `%s` | %s | %d |\n", r.what, strings.ReplaceAll(r.args, "|", `\|`), cell.Replace(message), code)
		}
	}
	if rows < 60 {
		t.Errorf("%d rows", rows)
	}
	path := filepath.Join(repo, "docs/bad-inputs.md")
	if *update {
		c.must(os.WriteFile(path, []byte(doc.String()), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" { // words of the operating system are in it
		return
	}
	got, old := strings.Split(doc.String(), "\n"), strings.Split(string(want), "\n")
	for _, line := range got {
		if !slices.Contains(old, line) {
			t.Errorf("not in docs/bad-inputs.md: %s", line)
		}
	}
	defer func() {
		if t.Failed() {
			t.Log("if that is better than before: go test ./cmd/selfcon -run TestBadInputs -update")
		}
	}()
	for _, line := range old {
		if !slices.Contains(got, line) {
			t.Errorf("only in docs/bad-inputs.md: %s", line)
		}
	}
}

// memoryBounds says what an input may cost, as the fuzz functions and the tests of
// bombs hold it.
const memoryBounds = `
What memory an input may take, however it is made, is bounded by its own size; the fuzz functions (` + "`.ci/run`" + `) and tests of bombs check it:

| input | bound |
| --- | --- |
| an image file | 64 megapixels (2²⁶; Pillow warns from 89 million on and refuses from 179 million on), 16 bytes a pixel while it is decoded, and 8 times the file: so up to 1 GB for a progressive JPEG of 64 megapixels with full chroma (in CMYK 24 bytes, 1.5 GB), and about half of that or less for all others that were measured; afterwards 3 bytes a pixel until it is shrunk; a PNG, BMP, JPEG, GIF or TIFF whose compression can't hold the size that its header says is refused at once; above 16 megapixels one is decoded at a time, and what the one before took is freed first |
| a file of a folder or an archive | 256 MB |
| gzip (IDX, tar, shards), members of zip | 100 times the packed size, or 64 MB if that is more; gzipped tars and shards 2 GB in all |
| CIFAR | known sizes of files |
| Parquet | footer of 64 MB; a page at a time |
| safetensors | header of 100 MB, 65,536 tensors, 64 times the file |
| pickles, files of torch.save | 400 times the pickle; storages as they lie in the file |
| YAML | 2 MB, 2,000 times the text |
| JSON of runs | 1,000 times the text |
`

// unsteady is what differs from machine to machine.
var unsteady = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`process \d+ on \S+`), "process N on HOST"},
	{regexp.MustCompile(`/\.run\d*-\d+`), "/.run-N"},
	{regexp.MustCompile(`run\.json:\d+: ends too early`), "run.json:N: ends too early"}, // it has the machine's name
}

// lastMessage is what is said without notes.
func lastMessage(stderr string) string {
	var out []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "note: ") {
			out = append(out, line)
		}
	}
	return strings.TrimSpace(strings.Join(out, ""))
}

func commandLine() []badInput {
	return []badInput{
		{"a command that is not there", "trian", exitUsage},
		{"help on a command that is not there", "help trian", exitUsage},
		{"no data", "train", exitUsage},
		{"a flag that is not there", "train --epoch 3", exitUsage},
		{"a word for a number", "train --data sample --epochs three", exitUsage},
		{"a flag without its value", "train --data", exitUsage},
		{"an argument too many", "train --data sample photos", exitUsage},
		{"a format that is not there", "train --data sampel", exitUsage},
		{"a path without its format", "train --data photos/cats", exitUsage},
		{"a format without its path", "train --data imagefolder", exitUsage},
		{"a path that the format does not take", "train --data sample:here", exitUsage},
		{"a preset that is not there", "train --data sample --preset small-sampel-ce", exitUsage},
		{"a part of a preset's name", "presets cifar100-resnet50", exitUsage},
		{"a name that no preset is like", "presets nosuch", exitUsage},
		{"accepting data without a run", "train --data sample --accept-data", exitUsage},
		{"settings for a run that has its own", "train --resume runs/a --lr 1", exitUsage},
		{"a log format that is not there", "train --data sample --log-format xml", exitUsage},
		{"probe without a run", "probe", exitUsage},
		{"neighbours of a probe without them", "probe --k 20 runs/a", exitUsage},
		{"no neighbour", "probe --knn --k 0 runs/a", exitUsage},
		{"an ensemble of one exit", "probe --ensemble-exits backbone runs/a", exitUsage},
		{"milestones behind the last epoch", "probe --epochs 3 --milestones 60,80 runs/a", exitUsage},
		{"one run to compare", "runs diff runs/a", exitUsage},
		{"a network that is not there, to describe", "models --arch resnt18", exitUsage},
		{"exits that no network has", "models --exits 9", exitUsage},
		{"predict without a probed run", "predict cat.jpg", exitUsage},
		{"methods that are there twice", "compare --data sample --methods ce,ce", exitUsage},
		{"a warm-up that is longer than one of the budgets", "compare --data sample --methods supcon --epochs 30,4 --warmup-epochs 3", exitUsage},
	}
}

func wrongSettings() []badInput {
	var out []badInput
	for _, r := range [][2]string{
		{"a method that is not there", "--method selfcons"},
		{"a network that is not there", "--arch resnet81"},
		{"a learning rate of 0", "--lr 0"},
		{"a learning rate that is no number", "--lr NaN"},
		{"an infinite temperature", "--temperature Inf"},
		{"a momentum of 1", "--momentum 1"},
		{"more images a step than there are", "--batch 100000"},
		{"a batch of one image", "--batch 1"},
		{"micro-batches that do not make up the batch", "--batch 64 --micro-batch 48"},
		{"micro-batches of one image with features of 1×1", "--image 8 --width 1 --micro-batch 1"},
		{"a distillation's temperature for a method without one", "--method subnet_ce --distill-temperature 4"},
		{"a contrast of weight 0", "--method selfcon --contrast-weight 0"},
		{"evaluation of a part larger than the image", "--image 32 --eval-resize 28"},
		{"a step schedule without its steps", "--schedule step"},
		{"exits out of order", "--exits 2,1"},
		{"an exit behind the last stage", "--exits 4"},
		{"exits of a method that has none", "--method supcon --exits 2"},
		{"no exits for a method that needs them", "--method selfcon-s --exits none"},
		{"a network far too wide", "--width 100000000000"},
		{"two channels", "--channels 2"},
		{"a mean without its deviation", "--mean 0.5,0.5,0.5"},
		{"a deviation without its mean", "--std 0.2"},
		{"more means than deviations", "--mean 0.5,0.5,0.5 --std 0.2"},
		{"two means", "--mean 0.5,0.5 --std 0.2,0.2"},
		{"one mean for RGB", "--channels 3 --mean 0.5 --std 0.2"},
		{"three means for images that turn out grey", "--mean 0.5,0.5,0.5 --std 0.2,0.2,0.2"},
		{"a magnitude of RandAugment that is not there", "--rand-augment 2,99"},
		{"more operations of RandAugment than there are", "--rand-augment 99,2"},
		{"one number for RandAugment", "--rand-augment 2"},
		{"RandAugment and AutoAugment", "--rand-augment 2,9 --auto-augment cifar10"},
		{"a blur of images that are too small for it", "--image 1 --arch resnet18 --blur 0.5"},
		{"more frozen stages than there are", "--freeze 9"},
		{"a balanced batch that the classes do not fill", "--sampling balanced --class-images 2 --batch 32"},
		{"a negative number of threads", "--threads -1"},
		{"a time without its unit", "--save-every 5"},
		{"no checkpoint to keep", "--keep 0"},
		{"images too small for the network", "--arch vgg13 --image 8"},
		{"a share of more than all", "--fraction 1.5"},
		{"an optimizer that is not there", "--optimizer adam"},
		{"beta2 for another optimizer than AdamW", "--optimizer sgd --beta2 0.9"},
		{"a trust coefficient without LARS", "--optimizer adamw --trust 0.01"},
		{"exceptions from no weight decay", "--no-decay vectors --weight-decay 0"},
		{"a temperature without a contrast", "--method ce --temperature 0.5"},
		{"projections without a contrast", "--method ce --projection-dim 64"},
		{"sub-networks without exits", "--method supcon --sub large"},
		{"crops of images that are not augmented", "--augment none --crop-min 0.7"},
		{"no flips of images that are not augmented", "--augment none --flip=false"},
		{"a warm-up that is longer than the training", "--epochs 1 --warmup-epochs 99999"},
		{"a warm-up that is longer than what the data make of the epochs", "--warmup-epochs 99999"},
		{"a rate that would fall after the end", "--epochs 80 --schedule step --milestones 60,80"},
		{"validations without images for them", "--val-fraction 0 --validate-every 2"},
		{"mixed images for a contrast", "--mixup 0.2"},
		{"mixed images for a contrast beside cross-entropy", "--method selfcon --cutmix 1"},
		{"smoothed labels for a contrast", "--method supcon --label-smoothing 0.1"},
		{"a mixing share of a negative alpha", "--method ce --cutmix -1"},
		{"labels smoothed away", "--method ce --label-smoothing 1"},
	} {
		out = append(out, badInput{r[0], "train --data sample " + r[1], exitUsage})
	}
	for _, r := range [][2]string{
		{"two channels, asked for the configuration", "channels=2"},
		{"a mean alone, asked for the configuration", "mean=0.5"},
		{"a magnitude that is not there, asked for the configuration", "rand_augment=2,99"},
		{"a ninth stage, asked for the configuration", "freeze=9"},
	} {
		out = append(out, badInput{r[0], "config " + r[1], exitUsage})
	}
	return out
}

func (c corner) configurations() []badInput {
	bomb := "data: sample\nclasses:\n  - &a [x, x, x, x, x, x, x, x, x, x]\n" // 10^10 words, if it were unfolded
	for i := range 9 {
		bomb += fmt.Sprintf("  - &%c [%s]\n", 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", 'a'+i), 10), ", "))
	}
	c.must(os.MkdirAll("empty-config", 0o755))
	c.write("good.yaml", []byte("data: sample\nepochs: 2\nbatch: 16\n"))
	var out []badInput
	for i, f := range []struct{ what, text string }{
		{"a setting that is not there", "data: sample\n\n# how long\nepoch: 3\n"},
		{"a setting twice", "epochs: 3\ndata: sample\nepochs: 4\n"},
		{"text for a number", "data: sample\nepochs: three\n"},
		{"a number in quotes", "data: sample\nepochs: \"3\"\n"},
		{"a number for a word", "data: sample\nmethod: 5\n"},
		{"a word for true or false", "data: sample\nflip: yes\n"},
		{"one number for a list", "data: sample\nexits: 2\n"},
		{"a list for one number", "data: sample\nlr: [0.1, 0.01]\n"},
		{"a list with a word in it", "data: sample\nexits: [1, two]\n"},
		{"a number out of range", "data: sample\nmomentum: 1.5\n"},
		{"a whole number far too large", "data: sample\nepochs: 99999999999999999999\n"},
		{"a number that is not finite", "data: sample\nlr: .inf\n"},
		{"a word that is not among those", "data: sample\nschedule: linear\n"},
		{"nothing for a number", "data: sample\nepochs:\n"},
		{"null for what can't be", "data: sample\nbatch: null\n"},
		{"settings that contradict each other", "data: sample\nschedule: step\n"},
		{"nested settings", "data: sample\nmodel:\n  arch: resnet18\n"},
		{"a preset that is not there in a file", "preset: small-sampel-ce\ndata: sample\n"},
		{"a list for a file", "- data\n- sample\n"},
		{"text for a file", "just some words\n"},
		{"JSON with a setting that is not there", "{\"data\": \"sample\", \"epoch\": 3}\n"},
		{"a bracket that does not close", "data: sample\nexits: [1, 2\n"},
		{"a quote that is not closed", "data: \"sample\nepochs: 3\n"},
		{"a tab before a setting", "data: sample\n\tepochs: 3\n"},
		{"a setting without its colon", "data sample\nepochs: 3\n"},
		{"two documents", "data: sample\n---\nepochs: 3\n"},
		{"an anchor and an alias", "data: &d sample\ncache: *d\n"},
		{"a merge key", "data: sample\n<<: {epochs: 3}\n"},
		{"a bomb of aliases", bomb},
		{"lists within lists without end", "data: sample\nexits: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n"},
		{"a tag", "data: !!python/object/apply:os.system [ls]\n"},
		{"bytes that are no text", "data: sample\nepochs: 3\ncache: \xff\xfe\n"},
		{"a file of zeros", strings.Repeat("\x00", 100)},
		{"a file far too long", "data: sample\n" + strings.Repeat("# more\n", 1<<19)},
		{"a time without its unit in a file", "data: sample\nsave_every: 5\n"},
	} {
		name := fmt.Sprintf("c%d.yaml", i)
		c.write(name, []byte(f.text))
		out = append(out, badInput{f.what, "train --config " + name, exitUsage})
	}
	return append(out,
		badInput{"a configuration that is not there", "train --config no.yaml", exitUsage},
		badInput{"a folder for a configuration", "train --config empty-config", exitUsage},
		badInput{"a configuration and an unknown key=value", "train --config good.yaml epoch=3", exitUsage},
		badInput{"a configuration and a wrong key=value", "train --config good.yaml epochs=0.5", exitUsage},
		badInput{"a good configuration and a flag against it", "train --config good.yaml --micro-batch 5", exitUsage},
		badInput{"a good file for another command", "config --config good.yaml --preset nothing", exitUsage})
}

func (c corner) folders() []badInput {
	c.must(os.MkdirAll("empty", 0o755))
	c.photos("one", func() {
		c.must(os.RemoveAll("one/train/dog"))
		c.must(os.RemoveAll("one/test/dog"))
	})
	c.photos("hollow", func() { c.must(os.Remove("hollow/train/dog/1.png")); c.must(os.Remove("hollow/train/dog/2.png")) })
	c.photos("other", func() { c.must(os.Rename("other/test/dog", "other/test/wolf")) })
	c.photos("notrain", func() { c.must(os.RemoveAll("notrain/train")) })
	c.photos("flat", func() { c.must(os.RemoveAll("flat/train")); c.write("flat/train/1.png", aPNG(8, 8)) })
	c.photos("round", func() { c.must(os.Symlink("..", "round/train/cat/up")) })
	c.photos("two", func() {
		c.must(os.CopyFS("two/val", os.DirFS("two/test")))
		c.must(os.Rename("two/val", "two/valid"))
		c.must(os.CopyFS("two/val", os.DirFS("two/test")))
	})
	c.write("file.txt", []byte("hello\n"))
	c.write("classes.txt", []byte("cat\nwolf\n"))
	c.write("twice.txt", []byte("cat\ndog\ncat\n"))
	c.write("none.txt", nil)
	c.photos("photos", nil)
	return []badInput{
		{"a folder that is not there", "train --data imagefolder:no/such/folder", exitBadData},
		{"an empty folder", "train --data imagefolder:empty", exitBadData},
		{"a text file for a folder", "train --data imagefolder:file.txt", exitBadData},
		{"a folder with one class", "train --data imagefolder:one", exitBadData},
		{"a class without images", "train --data imagefolder:hollow", exitBadData},
		{"other classes in the test split", "train --data imagefolder:other", exitBadData},
		{"no training split", "train --data imagefolder:notrain", exitBadData},
		{"images that lie in no class", "train --data imagefolder:flat", exitBadData},
		{"a link that leads around in a circle", "data stats imagefolder:round", exitBadData},
		{"the same split twice", "train --data imagefolder:two", exitBadData},
		{"a class list with a class that is not there", "train --data imagefolder:photos --classes classes.txt", exitBadData},
		{"a class list that has a class twice", "train --data imagefolder:photos --classes twice.txt", exitBadData},
		{"an empty class list", "train --data imagefolder:photos --classes none.txt", exitBadData},
		{"a class list that is not there", "train --data imagefolder:photos --classes no.txt", exitBadData},
		{"an ImageNet without its folders", "train --data imagenet:empty", exitBadData},
		{"a Tiny ImageNet without its lists", "train --data tinyimagenet:photos", exitBadData},
	}
}

func (c corner) images(sample map[string][]byte) []badInput {
	bomb := func(raw []byte, set func([]byte)) []byte {
		raw = bytes.Clone(raw)
		set(raw)
		return raw
	}
	tag := func(raw []byte, id uint16, v uint32) { // of a little-endian TIFF
		at := binary.LittleEndian.Uint32(raw[4:])
		for i := range uint32(binary.LittleEndian.Uint16(raw[at:])) {
			if e := raw[at+2+12*i:]; binary.LittleEndian.Uint16(e) == id {
				binary.LittleEndian.PutUint16(e[2:], 4)
				binary.LittleEndian.PutUint32(e[8:], v)
			}
		}
	}
	tiff, bmp, webp := sample["RGB-tiff_lzw.tif"], sample["RGB.bmp"], sample["RGB.webp"]
	jpg := aJPEG()
	sof := bytes.Index(jpg, []byte{0xff, 0xc0})
	bigPNG := aPNG(8, 8)
	copy(bigPNG[16:], bigEndian(60000, 60000))
	crc := bigEndian(crc32.ChecksumIEEE(bigPNG[12:29]))
	copy(bigPNG[29:], crc)
	broken := aPNG(8, 8)
	broken[len(broken)-20] ^= 0xff
	var out []badInput
	for _, f := range []struct {
		what, ext string
		body      []byte
	}{
		{"an empty image", "jpg", nil},
		{"a text called .jpg", "jpg", []byte("not an image\n")},
		{"a web page called .png", "png", []byte("<!DOCTYPE html><html></html>")},
		{"a JPEG cut short", "jpg", jpg[:len(jpg)/2]},
		{"a JPEG of its first bytes only", "jpg", jpg[:10]},
		{"a JPEG that claims to be 65,000 pixels wide and high", "jpg", bomb(jpg, func(b []byte) { binary.BigEndian.PutUint32(b[sof+5:], 65000<<16|65000) })},
		{"a PNG cut short", "png", aPNG(40, 40)[:50]},
		{"a PNG with a wrong checksum", "png", broken},
		{"a PNG that claims to be 60,000 pixels wide and high", "png", bigPNG},
		{"a GIF cut short", "gif", aGIF()[:30]},
		{"a GIF that claims to be 60,000 pixels wide and high", "gif", bomb(aGIF(), func(b []byte) { binary.LittleEndian.PutUint32(b[6:], 60000<<16|60000) })},
		{"a BMP cut short", "bmp", bmp[:60]},
		{"a BMP that claims to be 60,000 pixels wide and high", "bmp", bomb(bmp, func(b []byte) {
			binary.LittleEndian.PutUint32(b[18:], 60000)
			binary.LittleEndian.PutUint32(b[22:], 60000)
		})},
		{"a TIFF cut short", "tif", tiff[:len(tiff)/2]},
		{"a TIFF that claims to be 60,000 pixels wide and high", "tif", bomb(tiff, func(b []byte) { tag(b, 256, 60000); tag(b, 257, 60000) })},
		{"a TIFF in fax compression of two dimensions", "tif", bomb(sample["1-group3-0.tif"], func(b []byte) {
			last := int(binary.LittleEndian.Uint32(b[4:])) + 2 + 12*8
			copy(b[last:], []byte{292 & 255, 292 >> 8, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0})
		})},
		{"a WebP cut short", "webp", webp[:len(webp)/2]},
		{"a WebP that claims to be 16,000 pixels wide and high", "webp", bomb(webp, func(b []byte) {
			v := binary.LittleEndian.Uint32(b[21:])&^(1<<28-1) | 15999<<14 | 15999
			binary.LittleEndian.PutUint32(b[21:], v)
		})},
	} {
		dir := fmt.Sprintf("images%d", len(out))
		c.photos(dir, func() { c.write(dir+"/train/dog/3."+f.ext, f.body) })
		out = append(out, badInput{f.what, "data stats imagefolder:" + dir, exitBadData})
	}
	c.write("cut.png", aPNG(40, 40)[:50])
	return append(out,
		badInput{"a list of faults", "data check imagefolder:images1", exitBadData},
		badInput{"a damaged image in training", "train --data imagefolder:images3 --image 8 --width 1 --batch 5 --epochs 1 --out spoilt", exitBadData},
		badInput{"a damaged image that a cache is to have", "train --data imagefolder:images3 --image 8 --width 1 --batch 5 --epochs 1 --cache caches --out spoilt", exitBadData},
		badInput{"a damaged image that is to be packed", "data pack imagefolder:images3 damaged.pack", exitBadData},
		badInput{"an image to classify that is not there", "predict --run no cut.jpg", exitBadData},
		badInput{"an image to classify that is cut short", "predict --run no cut.png", exitBadData})
}

func (c corner) archives() []badInput {
	p := aPNG(8, 8)
	good := []packed{{"train/cat/1.png", p}, {"train/dog/1.png", p}, {"test/cat/1.png", p}, {"test/dog/1.png", p}}
	c.write("cut.zip", zipBytes(good...)[:300])
	c.write("cut.tar", tarBytes(good...)[:1600])
	c.write("cut.tar.gz", gzBytes(tarBytes(good...))[:80])
	c.write("escape.zip", zipBytes(append(good, packed{"../../etc/passwd", p})...))
	c.write("escape.tar", tarBytes(append(good, packed{"/etc/passwd/../../x.png", p})...))
	c.write("twice.tar", tarBytes(append(good, good[0])...))
	c.write("bomb.tar.gz", gzBytes(tarBytes(packed{"train/cat/1.png", make([]byte, 70<<20)})))
	c.write("none.tar", tarBytes())
	link := func(name, to string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		c.must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}))
		c.must(w.Flush())
		return append(b.Bytes(), tarBytes(good...)...)
	}
	c.write("escapelink.tar", link("train/cat/2.png", "../../../etc/passwd"))
	c.write("deadlink.tar", link("train/cat/2.png", "../cats/2.png"))
	c.write("linkshards/train-000.tar", link("2.png", "1.png"))
	c.write("photos.rar", []byte("Rar!\x1a\x07\x01\x00 and so on"))
	c.write("shards/train-000.tar", tarBytes(packed{"1.png", p}, packed{"2.png", p}, packed{"2.cls", []byte("1")}))
	c.write("cutshards/train-000.tar", tarBytes(packed{"1.png", p}, packed{"1.cls", []byte("0")}, packed{"2.png", p}, packed{"2.cls", []byte("1")})[:1100])
	c.write("words/train-000.tar", tarBytes(packed{"1.png", p}, packed{"1.cls", []byte("")}))
	return []badInput{
		{"a zip archive cut short", "train --data imagefolder:cut.zip", exitBadData},
		{"a tar archive cut short", "train --data imagefolder:cut.tar", exitBadData},
		{"a gzipped archive cut short", "train --data imagefolder:cut.tar.gz", exitBadData},
		{"a zip archive that leads out of itself", "train --data imagefolder:escape.zip", exitBadData},
		{"a tar archive that leads out of itself", "train --data imagefolder:escape.tar", exitBadData},
		{"an archive with a file twice", "train --data imagefolder:twice.tar", exitBadData},
		{"an archive that unpacks to a thousand times its size", "train --data imagefolder:bomb.tar.gz", exitBadData},
		{"an empty archive", "train --data imagefolder:none.tar", exitBadData},
		{"an archive of another kind", "train --data imagefolder:photos.rar", exitBadData},
		{"a link that leads out of its archive", "train --data imagefolder:escapelink.tar", exitBadData},
		{"a link to what is not in its archive", "train --data imagefolder:deadlink.tar", exitBadData},
		{"a link in a shard", "train --data webdataset:linkshards", exitBadData},
		{"a shard with an image without a label", "train --data webdataset:shards", exitBadData},
		{"a shard cut short", "train --data webdataset:cutshards", exitBadData},
		{"a shard with an empty label", "train --data webdataset:words", exitBadData},
		{"a folder without shards", "train --data webdataset:empty", exitBadData},
	}
}

func (c corner) tables() []badInput {
	c.write("nohead.csv", []byte("photos/train/cat/1.png,cat\n"))
	c.write("short.csv", []byte("path,label\nphotos/train/cat/1.png\n"))
	c.write("quote.csv", []byte("path,label\n\"photos/train/cat/1.png,cat\n"))
	c.write("empty.csv", nil)
	c.write("split.csv", []byte("path,label,split\nphotos/train/cat/1.png,cat,trian\n"))
	c.write("gone.csv", []byte("path,label,split\nphotos/train/cat/1.png,cat,train\nphotos/train/dog/7.png,dog,train\nphotos/test/dog/1.png,dog,test\n"))
	c.write("nolabel.csv", []byte("path,label\nphotos/train/cat/1.png,\n"))
	c.write("alone.csv", []byte("path,label\nphotos/train/cat/1.png,cat\nphotos/train/cat/2.png,cat\n"))
	c.write("broken.jsonl", []byte("{\"path\": \"photos/train/cat/1.png\", \"label\": \"cat\"}\n{\"path\": \"photos\n"))
	c.write("list.jsonl", []byte("[1, 2]\n"))
	c.write("kind.jsonl", []byte("{\"path\": \"photos/train/cat/1.png\", \"label\": [\"cat\"]}\n"))
	c.write("minus.csv", []byte("path,label\nphotos/train/cat/1.png,0\nphotos/train/dog/1.png,-1\n"))
	c.write("mixed.jsonl", []byte("{\"path\": \"photos/train/cat/1.png\", \"label\": 1}\n{\"path\": \"photos/train/dog/1.png\", \"label\": \"dog\"}\n"))
	c.write("halves.jsonl", []byte("{\"path\": \"photos/train/cat/1.png\", \"label\": 0.5}\n"))
	c.write("latin.csv", []byte("path,label\nphotos/train/cat/1.png,caf\xe9\nphotos/train/dog/1.png,dog\n"))
	return []badInput{
		{"a table that is not there", "train --data csv:no.csv", exitBadData},
		{"an empty table", "train --data csv:empty.csv", exitBadData},
		{"a table without a header", "train --data csv:nohead.csv", exitBadData},
		{"a row with a field too few", "train --data csv:short.csv", exitBadData},
		{"a quote that does not end", "train --data csv:quote.csv", exitBadData},
		{"a split that is not there", "train --data csv:split.csv", exitBadData},
		{"a row without a label", "train --data csv:nolabel.csv", exitBadData},
		{"a table of one class", "train --data csv:alone.csv", exitBadData},
		{"a table with an image that is not there", "data stats csv:gone.csv", exitBadData},
		{"a label that is not UTF-8", "data stats csv:latin.csv", exitBadData},
		{"a line that is not JSON", "train --data jsonl:broken.jsonl", exitBadData},
		{"a line that is no JSON object", "train --data jsonl:list.jsonl", exitBadData},
		{"a label below 0", "train --data csv:minus.csv", exitBadData},
		{"numbers and names for labels", "train --data jsonl:mixed.jsonl", exitBadData},
		{"half a number for a label", "train --data jsonl:halves.jsonl", exitBadData},
		{"a label that is a list", "train --data jsonl:kind.jsonl", exitBadData},
	}
}

func (c corner) binaries(repo string) []badInput {
	idx := func(dir string, images, labels []byte) {
		for _, split := range []string{"train", "t10k"} {
			c.write(filepath.Join(dir, split+"-images-idx3-ubyte"), images)
			c.write(filepath.Join(dir, split+"-labels-idx1-ubyte"), labels)
		}
	}
	pixels := append(bigEndian(0x803, 2, 4, 4), make([]byte, 32)...)
	labels := append(bigEndian(0x801, 2), 0, 1)
	idx("idx-magic", append(bigEndian(0x123, 2, 4, 4), make([]byte, 32)...), labels)
	idx("idx-cut", pixels[:30], labels)
	idx("idx-many", pixels, append(bigEndian(0x801, 3), 0, 1, 1))
	idx("idx-bomb", bigEndian(0x803, 1<<31, 1<<31, 1<<31), labels)
	idx("idx-label", pixels, append(bigEndian(0x801, 2), 0, 77))
	cifar := func(dir string, body []byte) {
		for i := 1; i <= 5; i++ {
			c.write(fmt.Sprintf("%s/data_batch_%d.bin", dir, i), body)
		}
		c.write(dir+"/test_batch.bin", body)
	}
	record := make([]byte, 3073)
	cifar("cifar-cut", record[:3000])
	bad := bytes.Clone(record)
	bad[0] = 10
	cifar("cifar-label", bad)
	cifar("cifar-part", record)
	c.must(os.Remove("cifar-part/data_batch_3.bin"))
	evil := "\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."
	python := func(dir, pickle string) {
		for i := 1; i <= 5; i++ {
			c.write(fmt.Sprintf("%s/data_batch_%d", dir, i), []byte(pickle))
		}
		c.write(dir+"/test_batch", []byte(pickle))
	}
	python("cifar-evil", evil)
	python("cifar-list", "\x80\x02].")
	python("cifar-trunc", "\x80\x02}q\x01(X\x05")
	parquet, err := os.ReadFile(filepath.Join(repo, "data/testdata/hf/train-00000-of-00002.parquet"))
	c.must(err)
	c.write("cut.parquet", parquet[:len(parquet)/2])
	outOfRange, err := os.ReadFile(filepath.Join(repo, "data/testdata/bad.parquet"))
	c.must(err)
	c.write("bad.parquet", outOfRange)
	c.write("text.parquet", []byte("PAR1 and nothing else, truly nothing PAR1"))
	c.photos("packme", nil)
	_, stderr, code := call(c.t.Context(), "data", "pack", "imagefolder:packme", "good.pack")
	if code != exitDone {
		c.t.Fatal(stderr)
	}
	set, err := os.ReadFile("good.pack")
	c.must(err)
	c.write("cut.pack", set[:len(set)/2])
	flipped := bytes.Clone(set)
	flipped[len(flipped)/3] ^= 1
	c.write("flip.pack", flipped)
	c.write("text.pack", []byte("hello"))
	return []badInput{
		{"an IDX folder without its files", "train --data mnist:empty", exitBadData},
		{"an IDX file of another kind", "train --data idx:idx-magic", exitBadData},
		{"an IDX file cut short", "train --data idx:idx-cut", exitBadData},
		{"more labels than images", "train --data idx:idx-many", exitBadData},
		{"an IDX header that claims 2³¹ images", "train --data idx:idx-bomb", exitBadData},
		{"an IDX label out of range", "train --data mnist:idx-label", exitBadData},
		{"a folder without CIFAR's files", "train --data cifar10:empty", exitBadData},
		{"a CIFAR file cut short", "train --data cifar10:cifar-cut", exitBadData},
		{"a CIFAR label out of range", "train --data cifar10:cifar-label", exitBadData},
		{"a CIFAR set with a file missing", "train --data cifar10:cifar-part", exitBadData},
		{"CIFAR-10 for CIFAR-100", "train --data cifar100:cifar-part", exitBadData},
		{"a CIFAR pickle that calls the system", "train --data cifar10:cifar-evil", exitBadData},
		{"a CIFAR pickle that is a list", "train --data cifar10:cifar-list", exitBadData},
		{"a CIFAR pickle cut short", "train --data cifar10:cifar-trunc", exitBadData},
		{"a Parquet file cut short", "train --data parquet:cut.parquet", exitBadData},
		{"a text between Parquet's marks", "train --data parquet:text.parquet", exitBadData},
		{"a packed set cut short", "data stats packed:cut.pack", exitBadData},
		{"a packed set with a flipped bit", "data stats packed:flip.pack", exitBadData},
		{"Parquet labels out of range", "train --data parquet:bad.parquet", exitBadData},
		{"a text for a packed set", "train --data packed:text.pack", exitBadData},
	}
}

func (c corner) weights() []badInput {
	c.write("empty.pth", nil)
	c.write("text.pth", []byte("hello, I am no network"))
	c.write("evil.pth", torchZip("\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."))
	c.write("evil2.pth", torchZip("\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."))
	c.write("cutpickle.pth", torchZip("\x80\x02}q\x01(X\x05"))
	c.write("cut.pth", torchZip("\x80\x02}.")[:100])
	c.write("none.pth", torchZip("\x80\x02}."))
	c.write("number.pth", torchZip("\x80\x02K\x01."))
	c.write("loop.pth", torchZip("\x80\x02]q\x01(h\x01h\x01e."))
	c.write("cut.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 8))
	c.write("head.safetensors", bigEndian(0xffffffff, 0xffffff7f))
	c.write("json.safetensors", safetensors(`{"a":{"dtype":`, 8))
	c.write("kind.safetensors", safetensors(`{"a":{"dtype":"Q7","shape":[4],"data_offsets":[0,16]}}`, 16))
	c.write("overlap.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}`, 24))
	c.write("huge.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}`, 16))
	c.write("bare.pkl", []byte("\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00}\x94."))
	c.write("strange.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 16))
	var out []badInput
	for _, r := range [][2]string{
		{"weights that are not there", "no.pth"}, {"an empty file of weights", "empty.pth"}, {"a text for weights", "text.pth"},
		{"a pickle that calls the system", "evil.pth"}, {"a pickle that evaluates code", "evil2.pth"}, {"a pickle cut short", "cutpickle.pth"},
		{"a file of torch.save cut short", "cut.pth"}, {"a checkpoint without tensors", "none.pth"}, {"a number for a checkpoint", "number.pth"}, {"a list within itself", "loop.pth"},
		{"safetensors cut short", "cut.safetensors"}, {"safetensors with a header larger than the file", "head.safetensors"}, {"safetensors with a broken header", "json.safetensors"},
		{"safetensors of a type that is not there", "kind.safetensors"}, {"safetensors that overlap", "overlap.safetensors"}, {"safetensors with a shape of 2⁶⁴ numbers", "huge.safetensors"},
		{"weights of a network that is not known", "strange.safetensors"}, {"a folder for weights", "empty"}, {"a bare pickle for weights", "bare.pkl"},
	} {
		out = append(out, badInput{r[0], "import --out imported " + r[1], exitBadData})
	}
	c.write("two.safetensors", safetensors(`{"encoder_q.conv1.weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 16))
	out = append(out, badInput{"a prefix that no name has", "import --prefix encoder_k --out imported two.safetensors", exitBadData})
	out = append(out, badInput{"images that no memory holds", "import --image 100000 --out imported strange.safetensors", exitUsage})
	return out
}

func (c corner) runs() []badInput {
	const args = "train --data sample --image 8 --width 1 --per-class 4 --batch 16 --epochs 1 --lr 0.01 --out "
	_, stderr, code := call(c.t.Context(), strings.Fields(args+"done")...)
	if code != exitDone {
		c.t.Fatal(stderr)
	}
	undone := func(dir string, change func()) {
		c.must(os.CopyFS(dir, os.DirFS("done")))
		m, err := os.ReadFile(filepath.Join(dir, run.ManifestFile))
		c.must(err)
		c.write(filepath.Join(dir, run.ManifestFile), bytes.Replace(m, []byte(`"done": true`), []byte(`"done": false`), 1))
		change()
	}
	edit := func(dir, file string, change func([]byte) []byte) func() {
		return func() {
			path := filepath.Join(dir, file)
			raw, err := os.ReadFile(path)
			c.must(err)
			c.write(path, change(bytes.Clone(raw)))
		}
	}
	half := func(raw []byte) []byte { return raw[:len(raw)/2] }
	replace := func(a, b string) func([]byte) []byte {
		return func(raw []byte) []byte {
			if !bytes.Contains(raw, []byte(a)) {
				c.t.Fatalf("no %s", a)
			}
			return bytes.Replace(raw, []byte(a), []byte(b), 1)
		}
	}
	undone("r-cut", edit("r-cut", run.ManifestFile, half))
	undone("r-empty", edit("r-empty", run.ManifestFile, func([]byte) []byte { return nil }))
	undone("r-format", edit("r-format", run.ManifestFile, replace(`"format": 2`, `"format": 99`)))
	undone("r-field", edit("r-field", run.ManifestFile, replace(`"format": 2`, `"fromat": 2`)))
	undone("r-setting", edit("r-setting", run.ManifestFile, replace(`"momentum": 0.9`, `"momentum": 9`)))
	undone("r-count", edit("r-count", run.ManifestFile, replace(`"train": `, `"train": 1`)))
	// Runs whose data somebody has changed since.
	var others []badInput
	for i, f := range []struct {
		what   string
		change func(dir string)
	}{
		{"an image more than the run began with", func(dir string) { c.write(dir+"/train/dog/3.png", aPNG(8, 8)) }},
		{"an image less than the run began with", func(dir string) { c.must(os.Remove(dir + "/train/dog/2.png")) }},
		{"an image that was moved to another class", func(dir string) { c.must(os.Rename(dir+"/train/cat/2.png", dir+"/train/dog/0.png")) }},
		{"an image of another name", func(dir string) { c.must(os.Rename(dir+"/train/dog/2.png", dir+"/train/dog/22.png")) }},
		{"images of another size", func(dir string) { c.write(dir+"/train/dog/2.png", aPNG(9, 9)) }},
		{"an image with other bytes", func(dir string) {
			raw := aPNG(8, 8)
			raw[len(raw)-1] ^= 1
			c.write(dir+"/train/dog/2.png", raw)
		}},
		{"a class that was renamed", func(dir string) {
			c.must(os.Rename(dir+"/train/dog", dir+"/train/wolf"))
			c.must(os.Rename(dir+"/test/dog", dir+"/test/wolf"))
		}},
		{"a test split that is gone", func(dir string) { c.must(os.RemoveAll(dir + "/test")) }},
		{"data that is gone", func(dir string) { c.must(os.RemoveAll(dir)) }},
	} {
		dir, data := fmt.Sprintf("r-data%d", i), fmt.Sprintf("data%d", i)
		c.photos(data, nil)
		if _, stderr, code := call(c.t.Context(), strings.Fields("train --data imagefolder:"+data+" --image 8 --width 1 --batch 2 --epochs 1 --validate-every 0 --lr 0.01 --out "+dir)...); code != exitDone {
			c.t.Fatal(stderr)
		}
		edit(dir, run.ManifestFile, replace(`"done": true`, `"done": false`))()
		f.change(data)
		others = append(others, badInput{f.what, "train --resume " + dir, exitBadData})
	}
	others = append(others, badInput{"data that is gone, to probe", "probe r-data8", exitBadData}, badInput{"data that is gone, to fine-tune on", "finetune r-data8", exitBadData})
	others = append(others, badInput{"other data for a run", "train --resume r-data1 --data imagefolder:data0", exitBadData},
		badInput{"changed data in another place", "train --resume r-data1 --data imagefolder:data5", exitBadData})
	undone("r-model", edit("r-model", run.ModelFile, half))
	undone("r-nomodel", func() { c.must(os.Remove("r-nomodel/" + run.ModelFile)) })
	undone("r-swapped", edit("r-swapped", run.ModelFile, func([]byte) []byte {
		return safetensors(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 16)
	}))
	undone("r-metrics", edit("r-metrics", run.MetricsFile, func(raw []byte) []byte { return append([]byte("garbage\n"), raw...) }))
	c.must(os.CopyFS("r-gone", os.DirFS("done")))
	c.must(os.Remove("r-gone/" + run.ModelFile))
	for _, dir := range []string{"r-point", "r-best", "r-place"} {
		c.must(os.CopyFS(dir, os.DirFS("done")))
	}
	edit("r-point", "checkpoints/step-2/"+run.StateFile, half)()
	c.must(os.RemoveAll("r-best/" + run.CheckpointsDir))
	c.must(os.Remove("r-place/checkpoints/step-2/" + run.PlaceFile))
	undone("r-probe", func() { c.write("r-probe/"+run.ProbeFile, []byte("hello")) })
	c.write("one.png", aPNG(8, 8))
	c.write("inthe/way", []byte("a file"))
	return append([]badInput{
		{"a run that is not there", "train --resume runs/no", exitUsage},
		{"a folder that is no run", "probe photos", exitUsage},
		{"going on with a run that is done", "train --resume done", exitUsage},
		{"a folder for a new run that is not empty", args + "photos", exitUsage},
		{"a file for a folder", args + "one.png", exitUsage},
		{"a folder below a file", args + "inthe/way/run", exitUsage},
		{"a run's description cut short", "train --resume r-cut", exitBadData},
		{"an empty description", "train --resume r-empty", exitBadData},
		{"a run of a later program", "train --resume r-format", exitBadData},
		{"a description with a field that is not known", "probe r-field", exitBadData},
		{"a setting in the description that can't be", "train --resume r-setting", exitBadData},
		{"numbers of images that are not the data's", "train --resume r-count", exitBadData},
		{"a model cut short", "probe r-model", exitBadData},
		{"a run without a model", "probe r-nomodel", exitFailed},
		{"a run that is done, without its model", "probe r-gone", exitBadData},
		{"damaged metrics, to show", "runs show r-metrics", exitBadData},
		{"damaged metrics, to report", "runs report r-metrics", exitBadData},
		{"damaged metrics, judged all the same", "probe --quiet --epochs 1 r-metrics", exitBadData},
		{"another network's model", "probe r-swapped", exitBadData},
		{"damaged classifiers", "predict --run r-probe one.png", exitBadData},
		{"classifying with a run that was not probed", "predict --run done one.png", exitUsage},
		{"a file for a run", "runs show one.png", exitUsage},
		{"a file for a folder of runs", "runs list one.png", exitUsage},
		{"a checkpoint that is not there", "probe done/checkpoints/step-7", exitUsage},
		{"the best checkpoint of a run without any", "predict --run r-best/checkpoints/best one.png", exitUsage},
		{"a damaged checkpoint to judge", "probe r-point/checkpoints/last", exitBadData},
		{"a checkpoint to judge that has lost a file", "probe r-place/checkpoints/last", exitBadData},
		{"a damaged checkpoint to begin with", "train --data sample --init r-point/checkpoints/last", exitBadData},
		{"a checkpoint for a run", "runs show done/checkpoints/last", exitUsage},
		{"going on with a checkpoint", "train --resume done/checkpoints/step-2", exitUsage},
		{"a file for a run to judge", "probe one.png", exitUsage},
		{"exporting what is no run", "export photos", exitUsage},
		{"exporting into a file", "export --out encoder.pth done", exitUsage},
		{"importing a run", "import done", exitUsage},
		{"fine-tuning what is no run", "finetune empty", exitUsage},
	}, others...)
}

// looking are the mistakes of data check, pack and show.
func (c corner) looking() []badInput {
	c.write("taken.png", aPNG(8, 8))
	c.write("packme.zip", zipBytes(packed{"train/cat/1.png", aPNG(8, 8)}, packed{"train/dog/1.png", aPNG(8, 8)}))
	return []badInput{
		{"packing into nothing", "data pack imagefolder:photos", exitUsage},
		{"packing into the file that is packed", "data pack imagefolder:packme.zip packme.zip", exitUsage},
		{"packing into a folder that is not there", "data pack sample no/such/folder/x.pack", exitUsage},
		{"packing into a folder that is a file", "data pack sample taken.png/x.pack", exitUsage},
		{"drawing into a file that is there", "data show --out taken.png sample", exitUsage},
		{"drawing a JPEG", "data show --out views.jpg sample", exitUsage},
		{"drawing into a folder that is not there", "data show --out no/such/views.png sample", exitUsage},
		{"a drawing that is too large", "data show --image 4096 --images 1000 --views 1000 sample", exitUsage},
		{"too many views", "data show --views 1001 sample", exitUsage},
		{"threads below 0 to check with", "data check --workers -3 sample", exitUsage},
		{"threads below 0 to pack with", "data pack --workers -3 sample x.pack", exitUsage},
		{"a folder's faults all at once", "data check imagefolder:hollow", exitBadData},
		{"one class to check", "data check imagefolder:one", exitBadData},
		{"labels out of range to check", "data check parquet:bad.parquet", exitBadData},
		{"IDX labels out of range to check", "data check mnist:idx-label", exitBadData},
		{"CIFAR labels out of range to check", "data check cifar10:cifar-label", exitBadData},
		{"examples below 0", "data check --examples -1 sample", exitUsage},
		{"shrinking to less than nothing", "data pack --short -1 sample x.pack", exitUsage},
	}
}
