package data

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// Finding is one kind of fault in a set.
type Finding struct {
	Kind  string `json:"kind"`  // see the constants
	Split string `json:"split"` // or two with a + between
	Count int    `json:"count"`
	// About says what is wrong and what it does to training.
	About string `json:"about"`
	// Examples are the first few places, up to the number asked for.
	Examples []string `json:"examples"`
}

// The kinds of findings, gravest first.
const (
	Unreadable   = "unreadable"
	OutOfRange   = "label out of range"
	MissingClass = "missing class"
	Leak         = "in two splits"
	UnknownClass = "unknown class"
	OneClass     = "one class"
	Conflict     = "two labels"
	Duplicate    = "duplicate"
	OddSize      = "odd size"
	Imbalance    = "imbalance"
)

const (
	unreadableAbout = "training stops at such an image"
	outOfRangeAbout = "a label is an index into the classes"
)

// What counts as odd: a shorter side this many times below or above the median,
// or a longer side this many times the shorter; and as imbalance: classes this
// many times the size of others.
const (
	oddSide     = 4
	oddAspect   = 3
	unequalness = 10
)

// SplitReport is what a check counts in one split.
type SplitReport struct {
	Split    string `json:"split"`
	Images   int    `json:"images"`
	Classes  int    `json:"classes"` // that have images
	Smallest int    `json:"smallest_class"`
	Largest  int    `json:"largest_class"`
	// Sizes are the smallest, the median and the largest shorter side of images that can be read.
	MinSide    int `json:"min_side"`
	MedianSide int `json:"median_side"`
	MaxSide    int `json:"max_side"`
}

// Report is what Check finds.
type Report struct {
	Splits   []SplitReport `json:"splits"`
	Findings []Finding     `json:"findings"`
}

// imageFacts are what a check remembers of an image.
type imageFacts struct {
	digest        [16]byte // of size and pixels
	width, height int32    // 0: unreadable
}

// NamedSplit is a split and what it is called.
type NamedSplit struct {
	Name string
	Dataset
}

// Named are the splits that are there, in order.
func (s Splits) Named() []NamedSplit {
	var out []NamedSplit
	for _, n := range []NamedSplit{{"train", s.Train}, {"val", s.Val}, {"test", s.Test}} {
		if n.Dataset != nil {
			out = append(out, n)
		}
	}
	return out
}

// Check decodes every image of a set and lists its faults. Duplicates are images
// of the same pixels, whatever their files. examples bounds those of a finding;
// workers 0 or less means as many as Go runs at once; progress may be nil. An error is ctx's only.
func Check(ctx context.Context, s Splits, examples, workers int, progress func(done, total int)) (Report, error) {
	var rep Report
	c := checker{examples: examples, first: map[[16]byte]place{}, found: map[[2]string]*Finding{}}
	if s.faults != nil {
		for _, f := range s.faults.list {
			c.add(f.kind, f.split, f.about, f.example)
		}
	}
	splits := s.Named()
	total, done := 0, 0
	for _, n := range splits {
		total += n.Len()
	}
	for _, n := range splits {
		facts := make([]imageFacts, n.Len())
		errs := map[int]error{}
		const chunk = 1024
		for lo := 0; lo < n.Len(); lo += chunk {
			hi := min(lo+chunk, n.Len())
			failed := make([]error, hi-lo)
			if err := eachImage(ctx, n.Dataset, lo, hi, workers, func(i int, im Image, err error) {
				if failed[i-lo] = err; err == nil {
					facts[i] = factsOf(im)
				}
			}); err != nil {
				return rep, err
			}
			for k, err := range failed {
				if err != nil {
					errs[lo+k] = err
				}
			}
			done += hi - lo
			if progress != nil {
				progress(done, total)
			}
		}
		rep.Splits = append(rep.Splits, c.split(n, facts, errs))
	}
	if n := len(s.Train.Classes()); n < 2 {
		c.add(OneClass, "train", "at least 2 are needed to tell apart", fmt.Sprintf("all images are of %s", classNames(s.Train.Classes())))
	}
	order := []string{Unreadable, OutOfRange, MissingClass, UnknownClass, OneClass, Leak, Conflict, Duplicate, OddSize, Imbalance}
	for _, kind := range order {
		for _, key := range c.order {
			if key[0] == kind {
				rep.Findings = append(rep.Findings, *c.found[key])
			}
		}
	}
	return rep, nil
}

func factsOf(im Image) imageFacts {
	h := sha256.New()
	var size [12]byte
	binary.LittleEndian.PutUint32(size[0:], uint32(im.Width))
	binary.LittleEndian.PutUint32(size[4:], uint32(im.Height))
	binary.LittleEndian.PutUint32(size[8:], uint32(im.Channels))
	h.Write(size[:])
	h.Write(im.Pix)
	f := imageFacts{width: int32(im.Width), height: int32(im.Height)}
	copy(f.digest[:], h.Sum(nil))
	return f
}

// place is where an image was seen first.
type place struct {
	split NamedSplit
	i     int
}

type checker struct {
	examples int
	first    map[[16]byte]place
	found    map[[2]string]*Finding // by kind and split
	order    [][2]string
}

func (c *checker) add(kind, split, about, example string) {
	key := [2]string{kind, split}
	f := c.found[key]
	if f == nil {
		f = &Finding{Kind: kind, Split: split, About: about}
		c.found[key] = f
		c.order = append(c.order, key)
	}
	if f.Count++; len(f.Examples) < c.examples {
		f.Examples = append(f.Examples, example)
	}
}

// split looks at one split, after those before it.
func (c *checker) split(n NamedSplit, facts []imageFacts, errs map[int]error) SplitReport {
	classes := n.Classes()
	perClass := make([]int, len(classes))
	var sides []int
	for i, f := range facts {
		label := n.Label(i)
		if label < 0 || label >= len(classes) {
			c.add(OutOfRange, n.Name, outOfRangeAbout, fmt.Sprintf("%s: label %d of %d classes", n.Dataset.Name(i), label, len(classes)))
		} else {
			perClass[label]++
		}
		if f.width == 0 {
			c.add(Unreadable, n.Name, unreadableAbout, errs[i].Error())
			continue
		}
		sides = append(sides, int(min(f.width, f.height)))
		was, twice := c.first[f.digest]
		if !twice {
			c.first[f.digest] = place{n, i}
			continue
		}
		pair := n.Dataset.Name(i) + " is " + was.split.Dataset.Name(was.i)
		if was.split.Name != n.Name {
			c.add(Leak, was.split.Name+"+"+n.Name, "the same image in both: results on "+n.Name+" are too good", pair)
		} else if was.split.Label(was.i) == label {
			c.add(Duplicate, n.Name, "the same image more than once counts more", pair)
		}
		if was.split.Label(was.i) != label {
			c.add(Conflict, n.Name, "the same image with different labels", fmt.Sprintf("%s, labels %d and %d", pair, label, was.split.Label(was.i)))
		}
	}
	rep := SplitReport{Split: n.Name, Images: n.Len()}
	smallest, largest := -1, -1
	for label, k := range perClass {
		if k == 0 {
			c.add(MissingClass, n.Name, "a class without an image", fmt.Sprintf("%d (%s)", label, classes[label]))
			continue
		}
		rep.Classes++
		if smallest < 0 || k < perClass[smallest] {
			smallest = label
		}
		if largest < 0 || k > perClass[largest] {
			largest = label
		}
	}
	if smallest >= 0 {
		rep.Smallest, rep.Largest = perClass[smallest], perClass[largest]
		if rep.Largest > unequalness*rep.Smallest {
			c.add(Imbalance, n.Name, fmt.Sprintf("classes differ more than %d times in size: train with --sampling balanced", unequalness),
				fmt.Sprintf("%s has %d images, %s has %d", classes[smallest], rep.Smallest, classes[largest], rep.Largest))
		}
	}
	if len(sides) == 0 {
		return rep
	}
	slices.Sort(sides)
	rep.MinSide, rep.MedianSide, rep.MaxSide = sides[0], sides[len(sides)/2], sides[len(sides)-1]
	for i, f := range facts {
		if f.width == 0 {
			continue
		}
		short, long := int(min(f.width, f.height)), int(max(f.width, f.height))
		if short*oddSide < rep.MedianSide || short > oddSide*rep.MedianSide || long > oddAspect*short {
			c.add(OddSize, n.Name, fmt.Sprintf("far from the median side of %d, or more than %d times as long as wide", rep.MedianSide, oddAspect),
				fmt.Sprintf("%s is %d×%d (width×height)", n.Dataset.Name(i), f.width, f.height))
		}
	}
	return rep
}
