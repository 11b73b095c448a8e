package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tiny ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip) as
// distributed: the classes in wnids.txt, training images in
// train/<class>/images, validation images all in val/images with their classes
// in val/val_annotations.txt. Its test images have no labels: the labelled split
// that results are published on is val, which is Splits.Test here.
//
// Labels are in the order of opt, lexicographic unless asked for (as everybody
// has them who moved the files into an ImageFolder), not in that of wnids.txt.
func openTinyImageNet(root string, opt Options) (Splits, error) {
	const want = "the folder tiny-imagenet-200, or tiny-imagenet-200.zip as distributed"
	t, err := openTree(root, want)
	if err != nil {
		return Splits{}, err
	}
	raw, err := t.read("wnids.txt")
	if errors.Is(err, os.ErrNotExist) {
		return Splits{}, badf(t.at("wnids.txt"), "not there: it should be %s", want).because(err)
	}
	if err != nil {
		return Splits{}, err
	}
	ids, err := parseClassList(t.at("wnids.txt"), raw)
	if err != nil {
		return Splits{}, err
	}
	return openImageNetTree(t, ids, opt)
}

// openImageNet reads ImageNet (ILSVRC 2012): train/<class>/*.JPEG and val, in
// class folders too or as distributed, all images together with their classes
// beside them: val_annotations.txt (a name and a class a line), Kaggle's
// LOC_val_solution.csv, or Caffe's val.txt (a name and a number, of the sorted
// classes). ImageNet-100 and others are the same with a class list. Splits.Test
// is val.
func openImageNet(root string, opt Options) (Splits, error) {
	const want = "a folder with train/<class>/*.JPEG and val"
	t, err := openTree(root, want)
	if err != nil {
		return Splits{}, err
	}
	ids, err := subfolders(t, "train")
	if errors.Is(err, os.ErrNotExist) {
		return Splits{}, badf(t.at("train"), "not there: it should be %s", want).because(err)
	}
	if err != nil {
		return Splits{}, err
	}
	return openImageNetTree(t, ids, opt)
}

// openImageNetTree reads the classes ids, or those of them that opt lists.
func openImageNetTree(t tree, ids []string, opt Options) (Splits, error) {
	sorted := slices.Sorted(slices.Values(ids))
	classes := slices.Clone(sorted)
	opt.sort(classes)
	if opt.Classes != nil {
		if missing := without(opt.Classes, ids); len(missing) > 0 {
			return Splits{}, badf(t.at(""), "%s of the class list: no such class here", classNames(missing))
		}
		classes = slices.Clone(opt.Classes)
	}
	var s Splits
	train, err := opt.readClasses(t, "train", "train", classes, &Splits{}) // boxes are passed over, and that is no news
	if err != nil {
		return Splits{}, err
	}
	train.channels = 3
	if opt.Channels != 0 {
		train.channels = opt.Channels
	}
	s.Train = train
	entries, err := listed(t, "val")
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return Splits{}, err
	}
	var val *imageFiles
	if slices.ContainsFunc(entries, func(e entry) bool { return e.dir && slices.Contains(sorted, e.name) }) {
		val, err = opt.readClasses(t, "val", "test", classes, &Splits{})
	} else {
		val, err = readAnnotated(t, sorted, classes)
	}
	if err != nil {
		return Splits{}, err
	}
	val.channels = train.channels
	s.Test = val
	return s, nil
}

// annotationFiles are where the classes of val may stand.
var annotationFiles = []struct {
	names []string
	parse func(path string, raw []byte, sorted []string) (map[string]string, error)
}{
	{[]string{"val/val_annotations.txt", "val_annotations.txt"}, parseAnnotations},
	{[]string{"LOC_val_solution.csv", "val/LOC_val_solution.csv"}, parseKaggle},
	{[]string{"val.txt", "val/val.txt"}, parseNumbered},
}

// readAnnotated lists the images of val, in val or val/images, sorted by name.
// sorted are all classes, classes those to read.
func readAnnotated(t tree, sorted, classes []string) (*imageFiles, error) {
	var classOf map[string]string
	from := ""
	for _, f := range annotationFiles {
		for _, name := range f.names {
			raw, err := t.read(name)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if classOf, err = f.parse(t.at(name), raw, sorted); err != nil {
				return nil, err
			}
			from = t.at(name)
		}
		if from != "" {
			break
		}
	}
	if from == "" {
		return nil, badf(t.at("val"), "neither class folders nor a list of the images' classes: there should be val/<class>, or val_annotations.txt, LOC_val_solution.csv or val.txt")
	}
	known := map[string]bool{}
	for _, c := range sorted {
		known[c] = true
	}
	for name, class := range classOf {
		if !known[class] {
			return nil, badf(from, "%s has class %q, which the training images have not", name, class)
		}
	}
	labels := map[string]int32{}
	for i, c := range classes {
		labels[c] = int32(i)
	}
	dir := "val"
	entries, err := listed(t, "val/images")
	if err == nil {
		dir = "val/images"
	} else if entries, err = listed(t, "val"); err != nil {
		return nil, err
	}
	d := &imageFiles{tree: t, classes: classes}
	for _, e := range entries {
		if e.dir || !isImageName(e.name) {
			continue
		}
		class, ok := classOf[e.name]
		if !ok {
			return nil, badf(t.at(path.Join(dir, e.name)), "%s does not say its class", from)
		}
		delete(classOf, e.name)
		if label, ok := labels[class]; ok {
			d.files = append(d.files, path.Join(dir, e.name))
			d.labels = append(d.labels, label)
		}
	}
	for name := range classOf {
		return nil, badf(from, "%d images in it are not in %s, such as %s", len(classOf), t.at(dir), name)
	}
	if len(d.files) == 0 {
		return nil, badf(t.at(dir), "no images of the classes that are read")
	}
	return d, nil
}

// annotate enters a line's image, which must be the first of its name.
func annotate(m map[string]string, path string, line int, name, class string) error {
	if !isImageName(name) {
		return badf(path, "line %d: %q is not the name of an image", line, name)
	}
	if _, twice := m[name]; twice {
		return badf(path, "line %d: %s has come before", line, name)
	}
	m[name] = class
	return nil
}

// parseAnnotations reads lines of a name, a class and anything else.
func parseAnnotations(path string, raw []byte, _ []string) (map[string]string, error) {
	return eachFields(path, raw, func(m map[string]string, line int, f []string) error {
		return annotate(m, path, line, f[0], f[1])
	})
}

// parseNumbered reads lines of a name and a class's number from 0, in the sorted order.
func parseNumbered(path string, raw []byte, sorted []string) (map[string]string, error) {
	return eachFields(path, raw, func(m map[string]string, line int, f []string) error {
		n, err := strconv.Atoi(f[1])
		if err != nil || n < 0 || n >= len(sorted) {
			return badf(path, "line %d: class %q should be a number from 0 to %d", line, f[1], len(sorted)-1)
		}
		return annotate(m, path, line, f[0], sorted[n])
	})
}

func eachFields(path string, raw []byte, each func(m map[string]string, line int, f []string) error) (map[string]string, error) {
	m := map[string]string{}
	s := bufio.NewScanner(bytes.NewReader(raw))
	for line := 1; s.Scan(); line++ {
		f := strings.Fields(s.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) < 2 {
			return nil, badf(path, "line %d: an image's name and its class should stand here, not %.80q", line, s.Text())
		}
		if err := each(m, line, f); err != nil {
			return nil, err
		}
	}
	if err := s.Err(); err != nil {
		return nil, badf(path, "not a list of images and classes: %v", err)
	}
	return m, nil
}

// parseKaggle reads rows of an image's name without extension, and its class
// with boxes: "n01751748 111 108 431 323 …".
func parseKaggle(path string, raw []byte, _ []string) (map[string]string, error) {
	m := map[string]string{}
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = 2
	for line := 1; ; line++ {
		f, err := r.Read()
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return nil, badf(path, "%v", err)
		}
		if line == 1 {
			continue
		}
		class, _, _ := strings.Cut(f[1], " ")
		if err := annotate(m, path, line, f[0]+".JPEG", class); err != nil {
			return nil, err
		}
	}
}
