package data

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	for i, f := range []string{"a/1.png", "a/2.png", "b/x, y.png", "3.png"} {
		write(t, dir, f, pngOf(t, flat(i+1, 1, red)))
	}
	outside := write(t, t.TempDir(), "o.png", pngOf(t, flat(9, 1, red)))
	csv := "Path,label,split\na/1.png,cat,train\n\"b/x, y.png\",dog,train\n" + outside + ",cat,val\n3.png,dog,test\na/2.png,cat,train\n"
	jsonl := `{"file_name": "a/1.png", "label": "cat"}
{"file_name": "b/x, y.png", "label": "dog", "extra": [1, 2]}

{"file_name": "` + filepath.ToSlash(outside) + `", "label": "cat", "split": "validation"}
{"file_name": "3.png", "label": "dog", "split": "test"}
{"file_name": "a/2.png", "label": "cat", "split": "train"}
`
	for _, spec := range []string{
		"csv:" + write(t, dir, "m.csv", []byte("\ufeff"+csv)),
		"csv:" + write(t, dir, "m.tsv", []byte(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(csv, "\"b/x, y.png\"", "b/x; y.png"), ",", "\t"), ";", ","))),
		"jsonl:" + write(t, dir, "m.jsonl", []byte(jsonl)),
	} {
		s, err := Open(spec, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.Equal(s.Train.Classes(), []string{"cat", "dog"}) || s.Train.Len() != 3 || s.Val.Len() != 1 || s.Test.Len() != 1 {
			t.Errorf("%s: %d images of %q", spec, s.Train.Len(), s.Train.Classes())
			continue
		}
		for i, want := range []struct{ label, width int }{{0, 1}, {1, 3}, {0, 2}} {
			if im := imageOf(t, s.Train, i); im.Width != want.width || s.Train.Label(i) != want.label {
				t.Errorf("%s: image %d: width %d, label %d", spec, i, im.Width, s.Train.Label(i))
			}
		}
		if imageOf(t, s.Val, 0).Width != 9 || s.Val.Label(0) != 0 || s.Test.Label(0) != 1 {
			t.Errorf("%s: wrong validation or test image", spec)
		}
	}
}

func TestManifestClasses(t *testing.T) {
	rows := func(labels ...string) string {
		s := "path,label\n"
		for _, l := range labels {
			s += "1.png," + l + "\n"
		}
		return s
	}
	dir := t.TempDir()
	write(t, dir, "1.png", pngOf(t, flat(1, 1, red)))
	for _, c := range []struct {
		text   string
		opt    Options
		want   []string
		labels []int
		part   string // of an error
	}{
		{text: rows("10", "2", "0"), want: digits(11), labels: []int{10, 2, 0}},
		{text: rows("10", "02"), want: []string{"02", "10"}, labels: []int{1, 0}}, // not numbers: names
		{text: rows("b10", "b9"), want: []string{"b10", "b9"}, labels: []int{0, 1}},
		{text: rows("b10", "b9"), opt: Options{Order: Natural}, want: []string{"b9", "b10"}, labels: []int{1, 0}},
		{text: rows("x", "y", "z"), opt: Options{Classes: []string{"z", "x"}}, want: []string{"z", "x"}, labels: []int{1, 0}},
		{text: rows("1", "0"), opt: Options{Classes: []string{"cat", "dog"}}, want: []string{"cat", "dog"}, labels: []int{1, 0}},
		{text: rows("1", "2"), opt: Options{Classes: []string{"cat", "dog"}}, part: "line 3: label 2 is out of range"},
		{text: rows("9999999"), part: "label 9999999"},
		{text: "path,label,split\n1.png,a,train\n1.png,b,test\n", part: `line 3: class "b", which no training image has`},
		{text: "path,label,split\n1.png,a,trian\n", part: `unknown split "trian"; did you mean "train"`},
		{text: "path,label,split\n1.png,a,test\n", part: "no image of the split train"},
		{text: "1.png,a\n2.png,b\n", part: "no column path or label"},
		{text: "path,label\n1.png\n", part: "wrong number of fields"},
		{text: "path,label\n,a\n", part: "line 2: no path"},
		{text: "path,label\n1.png,\n", part: "line 2: no label"},
		{text: "", part: "no header"},
	} {
		s, err := Open("csv:"+write(t, dir, "m.csv", []byte(c.text)), c.opt)
		if c.part != "" {
			if err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%q: error %v, want one with %q", c.text, err, c.part)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		var labels []int
		for i := range s.Train.Len() {
			labels = append(labels, s.Train.Label(i))
		}
		if !slices.Equal(s.Train.Classes(), c.want) || !slices.Equal(labels, c.labels) {
			t.Errorf("%q: classes %q, labels %d, want %q, %d", c.text, s.Train.Classes(), labels, c.want, c.labels)
		}
	}
	for text, part := range map[string]string{
		"[1]":                                    "line 1: not a JSON object",
		`{"path": "1.png"}`:                      "no label",
		`{"path": {}, "label": 1}`:               `"path" should be a text or a number`,
		`{"path":"` + strings.Repeat("x", 2<<20): "not JSON objects",
	} {
		_, err := Open("jsonl:"+write(t, dir, "m.jsonl", []byte(text)), Options{})
		wantData(t, err, "m.jsonl", part)
	}
}
