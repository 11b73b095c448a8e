package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"selfcon/internal/suggest"
)

// A manifest lists image files with their labels, and with their splits if it
// has several: CSV with a header (.tsv: with tabs), or JSON objects, one a line.
// Paths are relative to the manifest's folder. Labels are either all numbers,
// which are the labels then, or names, which become labels in the order of opt.
const manifestWant = "path, label and, if there are several splits, split"

// The names a field may have, the first being the one in messages.
var (
	pathFields  = []string{"path", "file_name", "filename", "filepath", "file", "image"}
	labelFields = []string{"label", "class", "target", "category"}
	splitFields = []string{"split", "subset"}
)

// row is a line of a manifest.
type row struct {
	line               int
	path, label, split string
	number             bool // the label is a JSON number
}

func openManifest(path string, opt Options, parse func(path string, raw []byte) ([]row, error)) (Splits, error) {
	raw, err := folder("").read(path)
	if err != nil {
		return Splits{}, err
	}
	rows, err := parse(path, raw)
	if err != nil {
		return Splits{}, err
	}
	return manifestSplits(path, rows, opt)
}

// manifestSplits turns rows into datasets.
func manifestSplits(path string, rows []row, opt Options) (Splits, error) {
	anyTrain := false
	set := labelSet{}
	for i, r := range rows {
		rows[i].split = "train"
		if r.split != "" {
			if rows[i].split = splitOf(r.split); rows[i].split == "" {
				return Splits{}, badf(path, "line %d: unknown split %q%s", r.line, r.split, suggest.Among(r.split, []string{"train", "val", "test"}))
			}
		}
		train := rows[i].split == "train"
		anyTrain = anyTrain || train
		set.add(r.label, train, func() string { return fmt.Sprintf("line %d", r.line) })
	}
	if !anyTrain {
		return Splits{}, badf(path, "no image of the split train")
	}
	labelOf, classes, err := set.classes(path, nil, opt)
	if err != nil {
		return Splits{}, err
	}
	parts := map[string]*imageFiles{}
	left := 0 // of classes that are not read
	for _, r := range rows {
		label, ok := labelOf[r.label]
		if !ok {
			left++
			continue
		}
		d := parts[r.split]
		if d == nil {
			d = &imageFiles{tree: folder(""), classes: classes}
			parts[r.split] = d
		}
		file := filepath.FromSlash(r.path)
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		d.files = append(d.files, file)
		d.labels = append(d.labels, label)
	}
	train := parts["train"]
	if train == nil {
		return Splits{}, badf(path, "no image of the split train is of a class in the class list")
	}
	if train.channels = opt.Channels; train.channels == 0 {
		if train.channels, err = opt.probeChannels(train, len(train.classes)); err != nil {
			return Splits{}, err
		}
	}
	s := Splits{Train: train}
	for split, to := range map[string]*Dataset{"val": &s.Val, "test": &s.Test} {
		if d := parts[split]; d != nil {
			d.channels = train.channels
			*to = d
		}
	}
	if left > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d images of classes that are not in the class list are passed over", path, left))
	}
	return s, nil
}

// parseCSV reads a manifest as CSV, or with tabs if its name ends in .tsv.
func parseCSV(path string, raw []byte) ([]row, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff"))))
	r.ReuseRecord = true
	if strings.EqualFold(filepath.Ext(path), ".tsv") {
		r.Comma, r.LazyQuotes = '\t', true
	}
	head, err := r.Read()
	if err != nil {
		return nil, badf(path, "no header: the first line should be the columns' names: %s", manifestWant)
	}
	column := func(names []string) int {
		for _, n := range names {
			if i := slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), n) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	p, l, s := column(pathFields), column(labelFields), column(splitFields)
	if p < 0 || l < 0 {
		return nil, badf(path, "no column %s in the header %.120q: it should have %s", pathFields[0]+" or "+labelFields[0], strings.Join(head, ","), manifestWant)
	}
	var rows []row
	for {
		f, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, badf(path, "%v", err)
		}
		line, _ := r.FieldPos(0)
		one := row{line: line, path: strings.Clone(f[p]), label: strings.Clone(strings.TrimSpace(f[l]))}
		if s >= 0 {
			one.split = strings.Clone(strings.TrimSpace(f[s]))
		}
		if rows, err = addRow(path, rows, one); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// maxLine bounds a line of JSON.
const maxLine = 1 << 20

// parseJSONL reads a manifest as an object a line.
func parseJSONL(path string, raw []byte) ([]row, error) {
	var rows []row
	s := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff"))))
	s.Buffer(nil, maxLine)
	for line := 1; s.Scan(); line++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) == 0 {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			if json.Valid(text) {
				return nil, badf(path, "line %d: not a JSON object, such as {\"path\": \"a.jpg\", \"label\": \"cat\"}, but %.40s", line, text)
			}
			return nil, badf(path, "line %d: not a JSON object: %v", line, err)
		}
		one := row{line: line}
		field := func(names []string) (string, error) {
			for _, n := range names {
				v, ok := object[n]
				if !ok {
					continue
				}
				var text string
				var number json.Number
				if json.Unmarshal(v, &text) == nil {
					return text, nil
				}
				if json.Unmarshal(v, &number) == nil {
					if names[0] == labelFields[0] {
						one.number = true
						if _, err := strconv.Atoi(number.String()); err != nil {
							return "", badf(path, "line %d: label %s: a label that is a number must be a whole one", line, number)
						}
					}
					return number.String(), nil
				}
				return "", badf(path, "line %d: %q should be a text or a number, not %.40s", line, n, v)
			}
			return "", nil
		}
		var err error
		for _, f := range []struct {
			to    *string
			names []string
		}{{&one.path, pathFields}, {&one.label, labelFields}, {&one.split, splitFields}} {
			if *f.to, err = field(f.names); err != nil {
				return nil, err
			}
		}
		if rows, err = addRow(path, rows, one); err != nil {
			return nil, err
		}
	}
	if err := s.Err(); err != nil {
		return nil, badf(path, "not JSON objects, one a line of at most %d bytes: %v", maxLine, err)
	}
	return rows, sameKind(path, rows)
}

// sameKind refuses labels of which some are numbers and others names.
func sameKind(path string, rows []row) error {
	number := slices.IndexFunc(rows, func(r row) bool { return r.number })
	if number < 0 {
		return nil
	}
	for _, r := range rows {
		if _, err := strconv.Atoi(r.label); err != nil {
			return badf(path, "line %d: label %q is a name, but that of line %d is the number %s: labels must be all numbers or all names", r.line, r.label, rows[number].line, rows[number].label)
		}
	}
	return nil
}

func addRow(path string, rows []row, r row) ([]row, error) {
	switch {
	case r.path == "":
		return nil, badf(path, "line %d: no path: there should be %s", r.line, manifestWant)
	case r.label == "":
		return nil, badf(path, "line %d: no label: there should be %s", r.line, manifestWant)
	}
	return append(rows, r), nil
}
