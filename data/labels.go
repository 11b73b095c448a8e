package data

import (
	"maps"
	"math"
	"slices"
	"strconv"
)

// labelSet is the labels that a set's files name, and where each came first.
type labelSet map[string]*labelUse

type labelUse struct {
	where   string
	inTrain bool
}

// add notes a label; where is only called for new ones.
func (s labelSet) add(label string, train bool, where func() string) {
	u := s[label]
	if u == nil {
		u = &labelUse{where: where()}
		s[label] = u
	}
	u.inTrain = u.inTrain || train
}

// classes gives every label its number. Labels that are all numbers are what
// they say, and with a class list indices into it; a negative one is an error.
// Others are names: in the
// order of known, the set's own list of classes, if it has one, or of the class
// list, or of opt. Those that a class list has not are left out; without a list,
// a label that no training image has is an error.
func (s labelSet) classes(path string, known []string, opt Options) (map[string]int32, []string, error) {
	numbers, highest := known == nil, -1
	negative := ""
	for label := range s {
		n, err := strconv.Atoi(label)
		numbers = numbers && err == nil && strconv.Itoa(n) == label
		highest = max(highest, n)
		if n < 0 && (negative == "" || label < negative) {
			negative = label
		}
	}
	classes := slices.Clone(opt.Classes)
	switch {
	case classes != nil:
		if known != nil {
			if missing := without(classes, known); len(missing) > 0 {
				return nil, nil, badf(path, "%s of the class list: no such class in this set", classNames(missing))
			}
		}
		numbers = numbers && len(without(slices.Collect(maps.Keys(s)), classes)) > 0
	case known != nil:
		classes = slices.Clone(known)
	case numbers:
		if negative != "" && opt.faults == nil {
			return nil, nil, badf(path, "%s: label %s: labels that are numbers go from 0", s[negative].where, negative)
		}
		if highest >= maxClasses {
			return nil, nil, badf(path, "label %d: labels that are numbers go from 0 to less than %d", highest, maxClasses)
		}
		classes = digits(highest + 1)
	default:
		for label, use := range s {
			if !use.inTrain && opt.faults == nil {
				return nil, nil, badf(path, "%s: class %q, which no training image has", use.where, label)
			}
			classes = append(classes, label)
		}
		opt.sort(classes)
	}
	labelOf := map[string]int32{}
	for i, c := range classes {
		if numbers {
			c = strconv.Itoa(i)
		}
		labelOf[c] = int32(i)
	}
	if numbers {
		for label, use := range s {
			if _, ok := labelOf[label]; !ok && opt.faults != nil {
				n, _ := strconv.Atoi(label)
				labelOf[label] = int32(min(max(n, math.MinInt32), math.MaxInt32)) // the check says so
			} else if !ok {
				return nil, nil, badf(path, "%s: label %s is out of range: the class list has %d classes, 0 to %d", use.where, label, len(classes), len(classes)-1)
			}
		}
	}
	return labelOf, classes, nil
}
