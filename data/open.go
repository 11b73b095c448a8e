package data

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"selfcon/internal/shell"
	"selfcon/internal/suggest"
)

// Options change how a set is read.
type Options struct {
	// Channels is what Image gives: 1 (grey), 3 (RGB), or 0 for what the set
	// has. Grey becomes RGB by repeating it; RGB becomes grey by ITU-R 601
	// luma, rounded as Pillow's convert("L") does.
	//
	// What the set has: IDX is grey and CIFAR is RGB. An image folder is grey
	// when the first image of every training class is stored as grey without
	// alpha, and RGB otherwise.
	Channels int
	// Order is how class names become labels where a set doesn't number them
	// itself: Lexicographic (also if empty) or Natural.
	Order string
	// Classes are the classes to read, in label order, and no others (see
	// ReadClassList); nil for all that there are. Sets that number their classes
	// themselves (IDX, CIFAR) take none.
	Classes []string

	faults *faults // if not nil, gets what is wrong with single images and classes
}

// Format is one kind of source that Open reads.
type Format struct {
	// Name is the part of a spec before the colon.
	Name string
	// Reads says what the path must be, in a line.
	Reads string
	// Example is a spec.
	Example string

	needsPath bool
	open      func(path string, opt Options) (Splits, error) // heeds what opt.faults says
	openOpt   func(path string, opt Options) (Splits, error) // instead of open: the format heeds all options itself
}

// formats is the one table of formats, in the order of help texts.
var formats = []Format{
	{
		Name:    "sample",
		Reads:   "a real sample of Fashion-MNIST that is part of the program: 10,000 training and 2,000 test images, 28×28, grey, 10 classes",
		Example: "sample",
		open:    func(string, Options) (Splits, error) { return openSample() },
	},
	{
		Name:      "cifar10",
		Reads:     "CIFAR-10 as distributed: cifar-10-binary.tar.gz or cifar-10-python.tar.gz, read as it is, or the unpacked folder",
		Example:   "cifar10:cifar-10-binary.tar.gz",
		needsPath: true,
		open:      func(path string, opt Options) (Splits, error) { return openCIFAR(path, cifar10, opt) },
	},
	{
		Name:      "cifar100",
		Reads:     "CIFAR-100 as distributed, fine labels: cifar-100-binary.tar.gz or cifar-100-python.tar.gz, read as it is, or the unpacked folder",
		Example:   "cifar100:cifar-100-python.tar.gz",
		needsPath: true,
		open:      func(path string, opt Options) (Splits, error) { return openCIFAR(path, cifar100, opt) },
	},
	{
		Name:      "fashion-mnist",
		Reads:     "a folder with Fashion-MNIST's four IDX files (train-images-idx3-ubyte, …), plain or .gz",
		Example:   "fashion-mnist:fashion",
		needsPath: true,
		open:      func(path string, opt Options) (Splits, error) { return openIDX(path, fashionMNISTClasses, true, opt) },
	},
	{
		Name:      "mnist",
		Reads:     "a folder with MNIST's four IDX files (train-images-idx3-ubyte, …), plain or .gz",
		Example:   "mnist:mnist",
		needsPath: true,
		open:      func(path string, opt Options) (Splits, error) { return openIDX(path, digits(10), true, opt) },
	},
	{
		Name:      "idx",
		Reads:     "a folder with IDX files named as MNIST's; the t10k (test) pair may be missing; classes are 0 to the largest training label",
		Example:   "idx:digits",
		needsPath: true,
		open:      func(path string, opt Options) (Splits, error) { return openIDX(path, nil, false, opt) },
	},
	{
		Name:      "imagefolder",
		Reads:     "a folder train/<class>/<image>, with val (or valid, validation) and test folders beside train if there are any; or class folders alone, all for training; or a .zip, .tar or .tar.gz of one, read in place",
		Example:   "imagefolder:photos",
		needsPath: true,
		openOpt:   openImageFolder,
	},
	{
		Name:      "tinyimagenet",
		Reads:     "Tiny ImageNet as distributed: tiny-imagenet-200.zip, read in place, or the unpacked folder; its validation images are the test split",
		Example:   "tinyimagenet:tiny-imagenet-200.zip",
		needsPath: true,
		openOpt:   openTinyImageNet,
	},
	{
		Name:      "imagenet",
		Reads:     "ImageNet: a folder with train/<class>/*.JPEG and val, in class folders or with val_annotations.txt, LOC_val_solution.csv or val.txt; ImageNet-100 with a class list; its validation images are the test split",
		Example:   "imagenet:ILSVRC2012",
		needsPath: true,
		openOpt:   openImageNet,
	},
	{
		Name:      "parquet",
		Reads:     "Parquet files with images as Hugging Face stores them (columns image and label): a file, a folder, or a pattern; the split is in a file's or folder's name",
		Example:   "parquet:data",
		needsPath: true,
		openOpt:   openParquet,
	},
	{
		Name:      "webdataset",
		Reads:     "WebDataset's tar shards, read in place (gzipped ones from memory): samples such as 000123.jpg beside 000123.cls; a folder, a file, or a pattern such as train-{000000..000146}.tar; the split is in a file's or folder's name",
		Example:   "webdataset:shards",
		needsPath: true,
		openOpt:   openWebDataset,
	},
	{
		Name:      "packed",
		Reads:     "what selfcon data pack has written: decoded pixels, checksummed, mapped into memory",
		Example:   "packed:photos.pack",
		needsPath: true,
		open:      func(path string, _ Options) (Splits, error) { return openPacked(path) },
	},
	{
		Name:      "csv",
		Reads:     "a table of images with a header: columns path (relative to the table), label (a name or a number) and, if there are several splits, split; .tsv for tabs",
		Example:   "csv:photos.csv",
		needsPath: true,
		openOpt:   func(path string, opt Options) (Splits, error) { return openManifest(path, opt, parseCSV) },
	},
	{
		Name:      "jsonl",
		Reads:     "the same as JSON objects, one a line",
		Example:   "jsonl:photos.jsonl",
		needsPath: true,
		openOpt:   func(path string, opt Options) (Splits, error) { return openManifest(path, opt, parseJSONL) },
	},
}

// Formats are the sources Open knows, in the order for a help text.
func Formats() []Format { return slices.Clone(formats) }

// Open reads the set that spec names: "name" or "name:path", with a name from
// Formats. It checks everything that can be checked without decoding image
// files. A spec that can't be understood is a *SpecError, data that is missing
// or wrong an *Error.
func Open(spec string, opt Options) (Splits, error) {
	s, err := open(spec, opt)
	if err != nil {
		return Splits{}, err
	}
	for _, c := range s.Train.Classes() {
		if !utf8.ValidString(c) { // runs keep the names as JSON, which could not give them back
			return Splits{}, badf(spec, "class %q is not UTF-8: rename it, or save the list of labels as UTF-8", c)
		}
	}
	return s, nil
}

// Survey is Open for Check: what is wrong with single images, labels and classes
// is no error but kept for Check, and labels may be out of range.
func Survey(spec string, opt Options) (Splits, error) {
	opt.faults = &faults{}
	s, err := Open(spec, opt)
	s.faults = opt.faults
	return s, err
}

func open(spec string, opt Options) (Splits, error) {
	name, path, hasPath := strings.Cut(spec, ":")
	i := slices.IndexFunc(formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Splits{}, unknownFormat(spec, name, hasPath)
	}
	f := formats[i]
	if f.needsPath && path == "" {
		return Splits{}, &SpecError{spec, "needs a path, for example " + f.Example + " (" + f.Reads + ")"}
	}
	if !f.needsPath && hasPath {
		return Splits{}, &SpecError{spec, "takes no path: write " + f.Name}
	}
	if opt.Channels != 0 && opt.Channels != 1 && opt.Channels != 3 {
		return Splits{}, &SpecError{spec, "channels must be 1 (grey), 3 (RGB) or 0 (as the set has)"}
	}
	if opt.Order != "" && opt.Order != Lexicographic && opt.Order != Natural {
		return Splits{}, &SpecError{spec, fmt.Sprintf("unknown order of classes %q%s", opt.Order, suggest.Among(opt.Order, Orders()))}
	}
	if f.openOpt == nil && opt.Classes != nil {
		return Splits{}, &SpecError{spec, "numbers its classes itself and takes no class list"}
	}
	if f.openOpt != nil {
		return f.openOpt(path, opt)
	}
	s, err := f.open(path, opt)
	if err != nil {
		return Splits{}, err
	}
	if opt.Channels != 0 {
		for _, ds := range []*Dataset{&s.Train, &s.Val, &s.Test} {
			if *ds != nil {
				*ds = &rechannelled{*ds, opt.Channels}
			}
		}
	}
	return s, nil
}

func unknownFormat(spec, name string, hasPath bool) error {
	if _, err := os.Stat(spec); err == nil && !hasPath {
		return &SpecError{spec, "a path needs its format in front, for example " + shell.Quote("imagefolder:"+spec)}
	}
	known := make([]string, len(formats))
	for i, f := range formats {
		known[i] = f.Name
	}
	return &SpecError{spec, fmt.Sprintf("unknown format %q%s", name, suggest.Among(name, known))}
}
