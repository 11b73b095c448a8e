package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// imageFolder is a split kept as image files, decoded when asked for.
type imageFolder struct {
	channels int // 1 or 3
	classes  []string
	files    []string
	labels   []int32
}

func (d *imageFolder) Len() int          { return len(d.files) }
func (d *imageFolder) Classes() []string { return d.classes }
func (d *imageFolder) Label(i int) int   { return int(d.labels[i]) }
func (d *imageFolder) Name(i int) string { return d.files[i] }

func (d *imageFolder) Image(i int) (Image, error) {
	raw, err := os.ReadFile(d.files[i])
	if err != nil {
		return Image{}, readFailed(d.files[i], err)
	}
	return decodeImage(d.files[i], raw, d.channels)
}

const imageFolderWant = "a folder with train/<class>/*.jpg, *.jpeg or *.png"

// openImageFolder lists the files of an image folder.
//
//   - Splits are the folders train, val (or valid, or validation) and test;
//     without any of them, the folders are classes, all for training.
//   - Classes are the folders in a split, in lexicographic order of bytes, as
//     torchvision's ImageFolder has them. All splits must have the same.
//   - Images are the files in a class's folder, at any depth, whose extension
//     is .jpg, .jpeg or .png in any case; in torchvision's order: folder by
//     folder, sorted by path, then by name. Links are followed.
//   - What begins with a dot is skipped. So are other files.
func openImageFolder(root string, opt Options) (Splits, error) {
	if err := isFolder(root, imageFolderWant); err != nil {
		return Splits{}, err
	}
	folders, err := subfolders(root)
	if err != nil {
		return Splits{}, err
	}
	if len(folders) == 0 {
		return Splits{}, badf(root, "no folders in it: it should be %s", imageFolderWant)
	}
	split := func(names ...string) (string, error) {
		var found []string
		for _, f := range folders {
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f) }) {
				found = append(found, f)
			}
		}
		if len(found) > 1 {
			return "", badf(root, "folders %s are the same split: keep one", strings.Join(found, " and "))
		}
		if len(found) == 0 {
			return "", nil
		}
		return filepath.Join(root, found[0]), nil
	}
	var paths [3]string
	for i, names := range [3][]string{{"train"}, {"val", "valid", "validation"}, {"test"}} {
		if paths[i], err = split(names...); err != nil {
			return Splits{}, err
		}
	}
	if paths[0] == "" {
		if other := paths[1] + paths[2]; other != "" {
			return Splits{}, badf(root, "there is a folder %s but no folder train", filepath.Base(other))
		}
		paths[0] = root
	}
	train, err := readImageFolder(paths[0])
	if err != nil {
		return Splits{}, err
	}
	if train.channels = opt.Channels; train.channels == 0 {
		if train.channels, err = probeChannels(train); err != nil {
			return Splits{}, err
		}
	}
	s := Splits{Train: train}
	for i, to := range []*Dataset{&s.Val, &s.Test} {
		path := paths[i+1]
		if path == "" {
			continue
		}
		d, err := readImageFolder(path)
		if err != nil {
			return Splits{}, err
		}
		if err := sameClasses(path, d.classes, paths[0], train.classes); err != nil {
			return Splits{}, err
		}
		d.classes, d.channels = train.classes, train.channels
		*to = d
	}
	return s, nil
}

// readImageFolder lists one split.
func readImageFolder(dir string) (*imageFolder, error) {
	classes, err := subfolders(dir)
	if err != nil {
		return nil, err
	}
	if len(classes) == 0 {
		return nil, badf(dir, "no class folders in it: images must be in %s", filepath.Join(dir, "<class>"))
	}
	d := &imageFolder{classes: classes}
	for label, class := range classes {
		path := filepath.Join(dir, class)
		var found []fileGroup
		other := "" // a file that is no image
		if err := walkImages(path, nil, &found, &other); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			reason := "no images in this class folder: it must have .jpg, .jpeg or .png files"
			if other != "" {
				reason += " (there is " + other + ")"
			}
			return nil, &Error{Path: path, Reason: reason}
		}
		slices.SortFunc(found, func(a, b fileGroup) int { return strings.Compare(a.dir, b.dir) })
		for _, g := range found {
			for _, name := range g.names {
				d.files = append(d.files, filepath.Join(g.dir, name))
				d.labels = append(d.labels, int32(label))
			}
		}
	}
	return d, nil
}

// fileGroup is the images directly in one folder.
type fileGroup struct {
	dir   string
	names []string // sorted
}

// walkImages collects the images under dir. above are the folders it is in, to
// stop at a link that leads back.
func walkImages(dir string, above []os.FileInfo, found *[]fileGroup, other *string) error {
	self, err := os.Stat(dir)
	if err != nil {
		return readFailed(dir, err)
	}
	for _, a := range above {
		if os.SameFile(a, self) {
			return badf(dir, "is a link to a folder that it is in")
		}
	}
	above = append(above, self)
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return readFailed(dir, err)
	}
	g := fileGroup{dir: dir}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		folder, err := leadsToFolder(path, e)
		switch {
		case err != nil:
			return err
		case folder:
			if err := walkImages(path, above, found, other); err != nil {
				return err
			}
		case isImageName(e.Name()):
			g.names = append(g.names, e.Name())
		default:
			*other = e.Name()
		}
	}
	if len(g.names) > 0 {
		*found = append(*found, g)
	}
	return nil
}

func isImageName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}

// subfolders are the names of the folders in dir that don't begin with a dot,
// sorted by bytes.
func subfolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, readFailed(dir, err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		folder, err := leadsToFolder(filepath.Join(dir, e.Name()), e)
		if err != nil {
			return nil, err
		}
		if folder {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// leadsToFolder says whether an entry is a folder or a link to one.
func leadsToFolder(path string, e os.DirEntry) (bool, error) {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir(), nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return false, readFailed(path, err)
	}
	return st.IsDir(), nil
}

// sameClasses is an error unless a split has exactly the training classes.
func sameClasses(path string, got []string, trainPath string, want []string) error {
	missing, extra := without(want, got), without(got, want)
	if len(missing)+len(extra) == 0 {
		return nil
	}
	var reasons []string
	if len(missing) > 0 {
		reasons = append(reasons, fmt.Sprintf("no folder for %s of %s", classList(missing), trainPath))
	}
	if len(extra) > 0 {
		reasons = append(reasons, fmt.Sprintf("%s not in %s", classList(extra), trainPath))
	}
	return badf(path, "%s: all splits must have the same class folders", strings.Join(reasons, ", and "))
}

// without are the elements of a that are not in b, both sorted.
func without(a, b []string) []string {
	var out []string
	for _, v := range a {
		if _, ok := slices.BinarySearch(b, v); !ok {
			out = append(out, v)
		}
	}
	return out
}

func classList(names []string) string {
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

// probeChannels is 1 if the first image of every class is stored as grey
// without alpha, else 3.
func probeChannels(d *imageFolder) (int, error) {
	for i, path := range d.files {
		if i > 0 && d.labels[i] == d.labels[i-1] {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return 0, readFailed(path, err)
		}
		h, err := readHeader(path, raw)
		if err != nil {
			return 0, err
		}
		if !h.grey {
			return 3, nil
		}
	}
	return 1, nil
}
