package data

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// imageFiles is a split kept as image files, decoded when asked for.
type imageFiles struct {
	tree     tree
	channels int // 1 or 3
	classes  []string
	files    []string // in the tree
	labels   []int32
}

func (d *imageFiles) Len() int          { return len(d.files) }
func (d *imageFiles) Classes() []string { return d.classes }
func (d *imageFiles) Label(i int) int   { return int(d.labels[i]) }
func (d *imageFiles) Name(i int) string { return d.tree.at(d.files[i]) }

func (d *imageFiles) raw(i int) ([]byte, error) { return d.tree.read(d.files[i]) }

func (d *imageFiles) Image(i int) (Image, error) {
	raw, err := d.raw(i)
	if err != nil {
		return Image{}, err
	}
	return decodeImage(d.Name(i), raw, d.channels)
}

const imageFolderWant = "a folder with train/<class>/<image>, or a .zip, .tar or .tar.gz of one"

// splitOf is "train", "val" or "test" for a folder's name that means one, or "".
func splitOf(name string) string {
	switch strings.ToLower(name) {
	case "train", "training":
		return "train"
	case "val", "valid", "validation", "dev":
		return "val"
	case "test", "testing":
		return "test"
	}
	return ""
}

// openImageFolder lists the files of an image folder, or of an archive of one.
//
//   - Splits are the folders train, val (or valid, or validation) and test;
//     without any of them, the folders are classes, all for training.
//   - Classes are the folders in a split, in the order of opt: lexicographic
//     by bytes, as torchvision's ImageFolder has them, unless something else is
//     asked for. All splits must have the same.
//   - Images are the files in a class's folder, at any depth, whose extension is
//     an image's in any case; in torchvision's order: folder by folder, sorted
//     by path, then by name. Links are followed.
//   - What is hidden is skipped (see isHidden). Other files are too, and noted.
func openImageFolder(root string, opt Options) (Splits, error) {
	t, err := openTree(root, imageFolderWant)
	if err != nil {
		return Splits{}, err
	}
	return splitImageTree(t, opt)
}

func splitImageTree(t tree, opt Options) (Splits, error) {
	folders, err := subfolders(t, "")
	if err != nil {
		return Splits{}, err
	}
	if len(folders) == 0 {
		return Splits{}, badf(t.at(""), "no folders in it: it should be %s", imageFolderWant)
	}
	dirs := map[string]string{}
	for _, f := range folders {
		split := splitOf(f)
		if split == "" {
			continue
		}
		if first, twice := dirs[split]; twice {
			return Splits{}, badf(t.at(""), "folders %s and %s are the same split: keep one", first, f)
		}
		dirs[split] = f
	}
	if len(dirs) > 0 && dirs["train"] == "" {
		return Splits{}, badf(t.at(""), "there is a folder %s but no folder train", cmp.Or(dirs["val"], dirs["test"]))
	}
	classes, err := opt.classes(t, dirs["train"])
	if err != nil {
		return Splits{}, err
	}
	var s Splits
	train, err := opt.readClasses(t, dirs["train"], "train", classes, &s)
	if err != nil {
		return Splits{}, err
	}
	if train.Len() == 0 {
		return Splits{}, badf(t.at(dirs["train"]), "no images in any of its class folders")
	}
	if train.channels = opt.Channels; train.channels == 0 {
		if train.channels, err = opt.probeChannels(train, len(train.classes)); err != nil {
			return Splits{}, err
		}
	}
	s.Train = train
	for split, to := range map[string]*Dataset{"val": &s.Val, "test": &s.Test} {
		dir := dirs[split]
		if dir == "" {
			continue
		}
		got, err := opt.classFolders(t, dir, split)
		if err != nil {
			return Splits{}, err
		}
		if err := sameClasses(t, dir, got, dirs["train"], classes, opt.Classes != nil); err != nil {
			if opt.faults == nil {
				return Splits{}, err
			}
			// Those that are missing the check finds by itself.
			for _, c := range without(got, classes) {
				opt.faults.add(UnknownClass, split, "a class that the training split has not: train refuses such data", badf(t.at(path.Join(dir, c)), "there is no such folder in %s", t.at(dirs["train"])))
			}
		}
		d, err := opt.readClasses(t, dir, split, classes, &s)
		if err != nil {
			return Splits{}, err
		}
		d.channels = train.channels
		*to = d
	}
	return s, nil
}

// classes are the class folders of a split in label order: as opt lists them, or
// all there are in its order.
func (opt Options) classes(t tree, dir string) ([]string, error) {
	found, err := opt.classFolders(t, dir, "train")
	if err != nil {
		return nil, err
	}
	if opt.Classes == nil {
		opt.sort(found)
		return found, nil
	}
	if missing := without(opt.Classes, found); len(missing) > 0 {
		return nil, badf(t.at(dir), "no folder for %s of the class list", classNames(missing))
	}
	return slices.Clone(opt.Classes), nil
}

func (opt Options) classFolders(t tree, dir, split string) ([]string, error) {
	entries, err := t.list(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if e.err != nil {
			if err := opt.unreadable(split, e.err); err != nil {
				return nil, err
			}
		}
		if e.dir {
			found = append(found, e.name)
		}
	}
	if len(found) == 0 {
		err = badf(t.at(dir), "no class folders in it: images must be in %s", t.at(path.Join(dir, "<class>")))
	}
	return found, err
}

// readClasses lists one split, and notes in s what it passes over.
func (opt Options) readClasses(t tree, dir, split string, classes []string, s *Splits) (*imageFiles, error) {
	d := &imageFiles{tree: t, classes: classes}
	var other passedOver
	for label, class := range classes {
		before := len(d.files)
		mark := other.count
		unreadable := func(err error) error { return opt.unreadable(split, err) }
		err := d.addImages(path.Join(dir, class), int32(label), &other, unreadable)
		if err != nil && !(opt.faults != nil && errors.Is(err, os.ErrNotExist)) { // which the check says by itself
			if err := unreadable(err); err != nil {
				return nil, err
			}
		}
		if len(d.files) == before && opt.faults == nil {
			reason := "no images in this class folder: it must have files such as .jpg, .png or .webp"
			if other.count > mark {
				reason += " (there is " + path.Base(other.last) + ")"
			}
			return nil, badf(t.at(path.Join(dir, class)), "%s", reason)
		}
	}
	other.note(t, s)
	return d, nil
}

// passedOver are files that are no images, by their names.
type passedOver struct {
	count       int
	first, last string
}

func (p *passedOver) add(name string) {
	if p.count++; p.count == 1 {
		p.first = name
	}
	p.last = name
}

func (p *passedOver) note(t tree, s *Splits) {
	switch {
	case p.count == 1:
		s.Notes = append(s.Notes, fmt.Sprintf("%s is passed over: its name is not that of an image (%s)", t.at(p.first), imageNames))
	case p.count > 1:
		s.Notes = append(s.Notes, fmt.Sprintf("%d files are passed over: their names are not those of images (%s); the first is %s", p.count, imageNames, t.at(p.first)))
	}
}

// addImages adds the images under dir, folder by folder in the order of paths.
// unreadable is told of what can't be listed, and may say to go on.
func (d *imageFiles) addImages(dir string, label int32, other *passedOver, unreadable func(error) error) error {
	type group struct {
		dir   string
		names []string
	}
	var groups []group
	var walk func(dir string) error
	walk = func(dir string) error {
		entries, err := d.tree.list(dir)
		if err != nil {
			return err
		}
		g := group{dir: dir}
		for _, e := range entries {
			switch {
			case e.err != nil:
				if err := unreadable(e.err); err != nil {
					return err
				}
			case e.dir:
				if err := walk(path.Join(dir, e.name)); err != nil {
					if err := unreadable(err); err != nil {
						return err
					}
				}
			case isImageName(e.name):
				g.names = append(g.names, e.name)
			default:
				other.add(path.Join(dir, e.name))
			}
		}
		if len(g.names) > 0 {
			groups = append(groups, g)
		}
		return nil
	}
	if err := walk(dir); err != nil {
		return err
	}
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.dir, b.dir) })
	for _, g := range groups {
		for _, name := range g.names {
			d.files = append(d.files, path.Join(g.dir, name))
			d.labels = append(d.labels, label)
		}
	}
	return nil
}

// subfolders are the names of the folders in dir that aren't hidden, sorted by
// bytes.
func subfolders(t tree, dir string) ([]string, error) {
	entries, err := listed(t, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.dir {
			names = append(names, e.name)
		}
	}
	return names, nil
}

// sameClasses is an error unless a split has exactly the training classes, or,
// with a class list, at least those.
func sameClasses(t tree, dir string, got []string, trainDir string, want []string, listed bool) error {
	missing, extra := without(want, got), without(got, want)
	if listed {
		extra = nil
	}
	if len(missing)+len(extra) == 0 {
		return nil
	}
	var reasons []string
	if len(missing) > 0 {
		reasons = append(reasons, fmt.Sprintf("no folder for %s of %s", classNames(missing), t.at(trainDir)))
	}
	if len(extra) > 0 {
		reasons = append(reasons, fmt.Sprintf("%s not in %s", classNames(extra), t.at(trainDir)))
	}
	return badf(t.at(dir), "%s: all splits must have the same class folders", strings.Join(reasons, ", and "))
}

// without are the elements of a that are not in b, in the order of a.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	var out []string
	for _, v := range a {
		if !in[v] {
			out = append(out, v)
		}
	}
	return out
}

// classNames are some classes, for messages: class "a", or classes "a", "b" and 3 more.
func classNames(names []string) string {
	const most = 4
	what := "class "
	if len(names) > 1 {
		what = "classes "
	}
	quoted := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, strconv.Quote(n))
	}
	s := what + strings.Join(quoted, ", ")
	if len(names) > most {
		s += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return s
}

// encoded are images as bytes of a format that readHeader knows.
type encoded interface {
	Len() int
	Label(i int) int
	Name(i int) string
	raw(i int) ([]byte, error)
}

// probeChannels is 1 if the first image of every class, of the first most
// classes that come, is stored as grey without alpha, else 3.
func (opt Options) probeChannels(d encoded, most int) (int, error) {
	seen := map[int]bool{}
	for i := range d.Len() {
		if seen[d.Label(i)] {
			continue
		}
		if len(seen) == most {
			break
		}
		raw, err := d.raw(i)
		var h header
		if err == nil {
			h, err = readHeader(d.Name(i), raw)
		}
		if err != nil {
			if opt.faults != nil { // will be found
				continue
			}
			return 0, err
		}
		seen[d.Label(i)] = true
		if !h.grey {
			return 3, nil
		}
	}
	return 1, nil
}
