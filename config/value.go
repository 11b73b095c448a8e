package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"selfcon/internal/suggest"
)

// Range bounds a number; the zero value does not.
type Range struct {
	Low, High         float64
	OpenLow, OpenHigh bool
	bounded           bool
}

func from(low float64) Range {
	return Range{Low: low, High: math.Inf(1), OpenHigh: true, bounded: true}
}
func above(low float64) Range {
	r := from(low)
	r.OpenLow = true
	return r
}
func (r Range) to(high float64) Range    { r.High, r.OpenHigh = high, false; return r }
func (r Range) below(high float64) Range { r.High, r.OpenHigh = high, true; return r }

// contains is false of NaN.
func (r Range) contains(v float64) bool {
	if !r.bounded {
		return true
	}
	return (v > r.Low || !r.OpenLow && v == r.Low) && (v < r.High || !r.OpenHigh && v == r.High)
}

// String says what is in the range, such as "at least 0 and less than 1"; empty
// if everything is.
func (r Range) String() string {
	if !r.bounded {
		return ""
	}
	low, high := "at least ", "at most "
	if r.OpenLow {
		low = "greater than "
	}
	if r.OpenHigh {
		high = "less than "
	}
	s := low + number(r.Low)
	if r.High < many {
		s += " and " + high + number(r.High)
	}
	return s
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Type is the kind of the setting's value: string, int, uint, float, bool,
// ints, floats or names.
func (s *Setting) Type() string {
	switch s.field(new(Run)).(type) {
	case *string:
		return "string"
	case *int:
		return "int"
	case *uint64:
		return "uint"
	case *float64, **float64:
		return "float"
	case *bool:
		return "bool"
	case *[]int:
		return "ints"
	case *[]float64:
		return "floats"
	case *[]string:
		return "names"
	}
	panic("config: the setting " + s.Key + " has a type that nothing reads") // a test tries all
}

// check says whether the setting's value is one that it can have, whatever the
// others are.
func (s *Setting) check(c *Run) error {
	number := func(v float64) error {
		if !s.Range.contains(v) {
			return fmt.Errorf("%v is out of range: must be %s", v, s.Range)
		}
		return nil
	}
	var err error
	switch p := s.field(c).(type) {
	case *string:
		if s.Values != nil && !slices.Contains(s.Values(), *p) {
			known := slices.DeleteFunc(s.Values(), func(v string) bool { return v == "" })
			return fmt.Errorf("unknown value %q%s", *p, suggest.Among(*p, known))
		}
	case *int:
		if !s.Range.contains(float64(*p)) {
			return fmt.Errorf("%d is out of range: must be %s", *p, s.Range.whole(*p))
		}
	case *float64:
		return number(*p)
	case **float64:
		if *p != nil {
			return number(**p)
		}
	case *[]int:
		for _, v := range *p {
			err = errors.Join(err, number(float64(v)))
		}
	case *[]float64:
		for _, v := range *p {
			err = errors.Join(err, number(v))
		}
	}
	return err
}

// whole says which bound of a range a whole number passes.
func (r Range) whole(v int) string {
	if float64(v) < r.Low {
		return "at least " + number(r.Low)
	}
	return "at most " + strconv.Itoa(int(r.High))
}

// parseNumber reads a decimal number, as YAML and JSON have them: no infinity,
// nothing hexadecimal, no underscores.
func parseNumber(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is too large for a number", s)
	}
	if err != nil || strings.ContainsAny(s, "xX_pPnN") || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return v, nil
}

func parseWhole(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is too large for a whole number", s)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return v, nil
}

func parseSeed(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number from 0 to %d", s, uint64(math.MaxUint64))
	}
	return v, nil
}

func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}

// nothing are the words for null in a flag, key=value or the environment.
func nothing(s string) bool { return s == "null" || s == "none" || s == "" || s == "[]" }

// SetText sets the setting from a flag's text and checks what it can have by
// itself; names reads a list of names out of a file.
func (s *Setting) SetText(c *Run, text string, names func(path string) ([]string, error)) error {
	if err := s.setText(c, text, names); err != nil {
		return err
	}
	return s.check(c)
}

// Offers are the words to complete the setting's value with; nil if there are none.
func (s *Setting) Offers() []string {
	switch {
	case s.Values != nil:
		return slices.DeleteFunc(slices.Clone(s.Values()), func(v string) bool { return v == "" })
	case s.Hint != nil:
		return s.Hint()
	case s.Type() == "bool":
		return []string{"true", "false"}
	}
	return nil
}

// setText sets the setting from a flag's text, that of key=value or of an
// environment variable: words as they are, lists separated by commas, with or
// without brackets. names reads a list of names out of a file.
func (s *Setting) setText(c *Run, text string, names func(path string) ([]string, error)) (err error) {
	list := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	switch p := s.field(c).(type) {
	case *string:
		*p = text
	case *int:
		*p, err = parseWhole(text)
	case *uint64:
		*p, err = parseSeed(text)
	case *float64:
		*p, err = parseNumber(text)
	case **float64:
		var v float64
		if *p = nil; !nothing(text) {
			v, err = parseNumber(text)
			*p = &v
		}
	case *bool:
		*p, err = parseBool(text)
	case *[]int:
		if *p = nil; !nothing(text) {
			*p, err = eachOf(strings.Split(list, ","), parseWhole)
		}
	case *[]float64:
		if *p = nil; !nothing(text) {
			*p, err = eachOf(strings.Split(list, ","), parseNumber)
		}
	case *[]string:
		switch *p = nil; {
		case nothing(text):
		case names == nil:
			err = fmt.Errorf("%q: give a list of names", text)
		default:
			*p, err = names(text)
		}
	}
	return err
}

func eachOf[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, t := range texts {
		v, err := parse(strings.TrimSpace(t))
		if err != nil {
			return nil, fmt.Errorf("%w; give numbers separated by commas, such as 1,2", err)
		}
		out = append(out, v)
	}
	return out, nil
}

// Text is the setting's value as a flag would give it; empty for null.
func (s *Setting) Text(c *Run) string {
	join := func(n int, at func(int) string) string {
		out := make([]string, n)
		for i := range out {
			out[i] = at(i)
		}
		return strings.Join(out, ",")
	}
	switch p := s.field(c).(type) {
	case *string:
		return *p
	case *int:
		return strconv.Itoa(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	case *float64:
		return number(*p)
	case **float64:
		if *p != nil {
			return number(**p)
		}
	case *bool:
		return strconv.FormatBool(*p)
	case *[]int:
		return join(len(*p), func(i int) string { return strconv.Itoa((*p)[i]) })
	case *[]float64:
		return join(len(*p), func(i int) string { return number((*p)[i]) })
	case *[]string:
		return join(len(*p), func(i int) string { return (*p)[i] })
	}
	return ""
}

// plain says whether a word needs no quotes in YAML, whoever reads it.
func plain(s string) bool {
	if s == "" || !unicode.IsLetter(rune(s[0])) || strings.HasSuffix(s, ":") {
		return false
	}
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-./:", r) {
			return false
		}
	}
	return !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s))
}
