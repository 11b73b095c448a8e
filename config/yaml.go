package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// maxText bounds a configuration file: the names of 100,000 classes fit, and
// what reading a hostile one can cost is some hundreds of MB and a second.
const maxText = 2 << 20

// maxDepth bounds how deep it nests: a mapping with lists needs 2.
const maxDepth = 8

// presetKey is what a file, key=value and the environment name a preset by. It
// is no setting: what it stands for is printed instead.
const presetKey = "preset"

// entry is one key of a configuration file with its value.
type entry struct {
	key   string
	value *yaml.Node
	where string // file:line: key
}

// Parse reads a configuration: YAML, a mapping of the keys in Settings, and
// preset for the name of a preset that it begins with. Settings that are not in
// it have their defaults. The name is the file's, for messages.
//
// It is strict: an unknown key, one that is there twice, a value of the wrong
// type or out of its range, and what Run.Validate refuses are an *Error with
// file, line and key. Only data may be missing.
func Parse(name string, text []byte) (Run, error) {
	r, err := Resolve(Sources{File: name, Text: text})
	return r.Run, err
}

// readEntries reads the keys of a configuration file in their order.
func readEntries(name string, text []byte) ([]entry, error) {
	fail := func(line int, format string, args ...any) error {
		return &Error{Setting: "config", Where: fmt.Sprintf("%s:%d", name, line), Reason: fmt.Sprintf(format, args...)}
	}
	if len(text) > maxText {
		return nil, &Error{Setting: "config", Where: name, Reason: fmt.Sprintf("longer than %d bytes: not a configuration", maxText)}
	}
	if line, what := unreadable(text); line > 0 {
		return nil, fail(line, "%s: not a configuration, which is YAML in UTF-8", what)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, err
	}
	var document, second yaml.Node
	err = loader.Load(&document)
	if errors.Is(err, io.EOF) { // empty, or nothing but remarks
		return nil, nil
	}
	if err == nil {
		if err = loader.Load(&second); err == nil {
			return nil, fail(second.Line, "a second document begins: a configuration is one")
		}
	}
	var broken *yaml.LoadError
	switch {
	case errors.Is(err, io.EOF):
	case errors.As(err, &broken):
		line, context := broken.Mark.Line, ""
		if broken.ContextMsg != "" {
			context = " " + broken.ContextMsg
			// Where it begins tells more than where the reader gave up, but for text
			// that goes on over lines unintended.
			if broken.ContextMark.Line > 0 && !strings.Contains(context, "plain scalar") {
				line = broken.ContextMark.Line
			}
		}
		return nil, fail(max(line, 1), "not YAML: %s%s", broken.Message, context)
	default:
		return nil, fail(1, "not YAML: %v", err)
	}
	if len(document.Content) != 1 {
		return nil, nil
	}
	top := document.Content[0]
	if isNull(top) && top.Anchor == "" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, fail(top.Line, "is %s: a configuration is lines of key: value", kindOf(top))
	}
	if err := unadorned(top); err != nil {
		return nil, fail(top.Line, "%v", err)
	}
	var out []entry
	lines := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return nil, fail(key.Line, "a key is %s: must be the name of a setting", kindOf(key))
		}
		where := fmt.Sprintf("%s:%d: %s", name, key.Line, clip(key.Value))
		if first := lines[key.Value]; first > 0 {
			return nil, &Error{Setting: key.Value, Where: where, Reason: fmt.Sprintf("is there already, on line %d", first)}
		}
		lines[key.Value] = key.Line
		if key.Value != presetKey && byKey[key.Value] == nil {
			reason := unknownKey(key.Value)
			if value.Kind == yaml.MappingNode {
				reason = "unknown setting: settings are not nested, write their own keys, such as arch: resnet18"
			}
			return nil, &Error{Setting: key.Value, Where: where, Reason: reason}
		}
		if err := errors.Join(unadorned(key), unadorned(value)); err != nil {
			return nil, &Error{Setting: key.Value, Where: where, Reason: err.Error()}
		}
		out = append(out, entry{key.Value, value, where})
	}
	return out, nil
}

// clip keeps a message about a key readable.
func clip(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return printable(s)
}

// printable keeps text on one line.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// unreadable finds the line of the first byte that no text has; 0 if there is
// none.
func unreadable(text []byte) (line int, what string) {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			what = fmt.Sprintf("byte %#02x is no UTF-8", text[i])
		} else if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			what = fmt.Sprintf("control character %#02x", r)
		}
		if what != "" {
			return 1 + bytes.Count(text[:i], []byte("\n")), what
		}
		i += n
	}
	return 0, ""
}

// unadorned refuses what a configuration has no use for: anchors, aliases and
// tags (but that of bytes which are no text).
func unadorned(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return errors.New("anchors (&) and aliases (*) are not used here: write the value itself; a word that begins with & or * needs quotes")
	case n.Style&yaml.TaggedStyle != 0 && n.Tag != binaryTag:
		return fmt.Errorf("tags (%s) are not used here; a word that begins with ! needs quotes", clip(n.Tag))
	}
	return nil
}

const binaryTag = "!!binary"

// kindOf says what a node is, for messages.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "empty"
	case !bare(n):
		return "text in quotes (" + strconv.Quote(clip(n.Value)) + ")"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "a number (" + clip(n.Value) + ")"
	case n.Tag == "!!bool":
		return n.Value
	}
	return "text (" + clip(n.Value) + ")"
}

func isNull(n *yaml.Node) bool { return bare(n) && n.Tag == "!!null" }

// bare is whether a scalar stands without quotes and tag.
func bare(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 }

// setNode sets the setting from its value in a file.
func (s *Setting) setNode(c *Run, n *yaml.Node, names func(string) ([]string, error)) error {
	wanted := func(what string) error {
		return fmt.Errorf("is %s: must be %s", kindOf(n), what)
	}
	null := isNull(n)
	if null && s.Nullable {
		return s.setText(c, "null", nil)
	}
	list := n.Kind == yaml.SequenceNode
	scalar := bare(n) && !null
	switch p := s.field(c).(type) {
	case *string:
		v, ok := word(n)
		if !ok {
			return wanted(s.wordsWanted(n))
		}
		*p = v
		return nil
	case *[]string:
		if !list {
			if v, ok := word(n); ok {
				return s.setText(c, v, names)
			}
			return wanted("a list of names, or the name of a file with one a line")
		}
		*p = nil
		for _, item := range n.Content {
			v, ok := word(item)
			if err := unadorned(item); err != nil {
				return fmt.Errorf("line %d: %w", item.Line, err)
			}
			if !ok {
				return fmt.Errorf("line %d: is %s: must be a name; put it in quotes", item.Line, kindOf(item))
			}
			*p = append(*p, v)
		}
		return nil
	case *[]int:
		if !list {
			return wanted("a list of whole numbers, such as [1, 2]")
		}
		return eachNode(p, n, parseWhole)
	case *[]float64:
		if !list {
			return wanted("a list of numbers, such as [0.5, 0.5, 0.5]")
		}
		return eachNode(p, n, parseNumber)
	case *bool:
		if !scalar || n.Tag != "!!bool" {
			return wanted("true or false")
		}
	case *int, *uint64:
		if !scalar || n.Tag != "!!int" && n.Tag != "!!float" {
			return wanted("a whole number")
		}
	default:
		if !scalar || n.Tag != "!!int" && n.Tag != "!!float" {
			return wanted("a number")
		}
	}
	return s.setText(c, n.Value, nil)
}

// wordsWanted says what a word setting takes instead of what stands there.
func (s *Setting) wordsWanted(n *yaml.Node) string {
	if s.Values != nil {
		return "one of " + strings.Join(s.Values(), ", ")
	}
	if s.Key == "save_every" {
		return "a time with its unit, such as 5m or 30s"
	}
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		return "text; write " + strconv.Quote(n.Value) + " in quotes"
	}
	return `text; for none write ""`
}

// word is a scalar's text, if it is one.
func word(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || bare(n) && n.Tag != "!!str" && n.Tag != "!!merge" && n.Tag != "!!timestamp" {
		return "", false
	}
	if n.Tag == binaryTag {
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
		return string(b), err == nil
	}
	return n.Value, true
}

func eachNode[T any](to *[]T, n *yaml.Node, parse func(string) (T, error)) error {
	*to = nil
	for _, item := range n.Content {
		if !bare(item) || item.Anchor != "" {
			return fmt.Errorf("line %d: is %s: must be a number", item.Line, kindOf(item))
		}
		v, err := parse(item.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", item.Line, err)
		}
		*to = append(*to, v)
	}
	return nil
}

// Marshal writes a configuration as YAML, each setting with what it is. Parse
// makes the same Run of it, but that lists of nothing become nil, and that the
// network's image height and width are Image. It fails for numbers that no
// configuration can have (infinite, NaN) and for other heights and widths. The
// lines of head come first, as remarks.
func Marshal(c Run, head ...string) ([]byte, error) {
	c, _ = c.Plain()
	text, err := Resolved{Run: c}.Marshal()
	if err != nil || len(head) == 0 {
		return text, err
	}
	var b bytes.Buffer
	for _, line := range head {
		fmt.Fprintf(&b, "# %s\n", printable(line))
	}
	b.WriteByte('\n')
	return append(b.Bytes(), text...), nil
}

// Marshal writes the configuration as YAML, each setting with what it is and,
// where it isn't the default, where its value comes from.
func (r Resolved) Marshal() ([]byte, error) {
	c := r.Run
	if m := c.Model; (m.ImageHeight != 0 || m.ImageWidth != 0) && (m.ImageHeight != c.Image || m.ImageWidth != c.Image) {
		return nil, bad("image", "%d, but the network's images are %d×%d", c.Image, m.ImageHeight, m.ImageWidth)
	}
	var b bytes.Buffer
	group := ""
	for _, s := range table {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "# ---- %s ----\n\n", group)
		}
		for _, line := range wrap(s.About, 78) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		text, err := s.yaml(&c)
		if err != nil {
			return nil, &Error{Setting: s.Key, Reason: err.Error()}
		}
		from := ""
		if w := r.From[s.Key]; w != "" {
			from = "  # " + w
		}
		// The remark about a long list stands above its first line's end.
		first, rest, _ := strings.Cut(text, "\n")
		fmt.Fprintf(&b, "%s:%s%s\n", s.Key, first, from)
		if rest != "" {
			fmt.Fprintln(&b, rest)
		}
		b.WriteByte('\n')
	}
	out := bytes.TrimRight(b.Bytes(), "\n")
	return append(out, '\n'), nil
}

// manyNames are more than a line should hold.
const manyNames = 8

// yaml is the setting's value with what comes between it and the colon.
func (s *Setting) yaml(c *Run) (string, error) {
	numbers := func(n int, at func(int) float64) (string, error) {
		var out []string
		for i := range n {
			v, err := yamlNumber(at(i))
			if err != nil {
				return "", err
			}
			out = append(out, v)
		}
		return " [" + strings.Join(out, ", ") + "]", nil
	}
	switch p := s.field(c).(type) {
	case *string:
		return " " + yamlWord(*p), nil
	case *float64:
		v, err := yamlNumber(*p)
		return " " + v, err
	case **float64:
		if *p == nil {
			return " null", nil
		}
		v, err := yamlNumber(**p)
		return " " + v, err
	case *[]int:
		return " [" + strings.ReplaceAll(s.Text(c), ",", ", ") + "]", nil
	case *[]float64:
		if len(*p) == 0 {
			return " null", nil
		}
		return numbers(len(*p), func(i int) float64 { return (*p)[i] })
	case *[]string:
		if len(*p) == 0 {
			return " null", nil
		}
		var out []string
		for _, v := range *p {
			out = append(out, yamlWord(v))
		}
		if len(out) > manyNames {
			return "\n  - " + strings.Join(out, "\n  - "), nil
		}
		return " [" + strings.Join(out, ", ") + "]", nil
	}
	return " " + s.Text(c), nil
}

// yamlNumber writes a number so that every reader of YAML takes it for one:
// some want a point before an exponent.
func yamlNumber(v float64) (string, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "", fmt.Errorf("%v: must be a finite number", v)
	}
	s := number(v)
	if i := strings.IndexByte(s, 'e'); i > 0 && !strings.Contains(s, ".") {
		s = s[:i] + ".0" + s[i:]
	}
	return s, nil
}

// yamlWord writes text as YAML: bare if nothing can be misread, otherwise in
// double quotes; as bytes if it is no UTF-8 (as a file's name need not be).
func yamlWord(s string) string {
	if plain(s) {
		return s
	}
	if !utf8.ValidString(s) {
		return binaryTag + ` "` + base64.StdEncoding.EncodeToString([]byte(s)) + `"`
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// wrap breaks text into lines of up to width characters, where it can.
func wrap(text string, width int) []string {
	var out []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			out = append(out, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(out, line)
}
