package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"selfcon/config"
)

// TestConfigurationDoc holds docs/configuration.md against the table of
// settings, which go test -update writes it from, and tries its examples.
func TestConfigurationDoc(t *testing.T) {
	path, err := filepath.Abs("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "-run TestConfigurationDoc -update -->\n"
	text, tables, ok := strings.Cut(string(raw), mark)
	if !ok {
		t.Fatalf("no %q", mark)
	}
	if want := settingTables(); tables != want {
		if *update {
			if err := os.WriteFile(path, []byte(text+mark+want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Errorf("the tables of docs/configuration.md are not those of the settings; go test ./cmd/selfcon -run TestConfigurationDoc -update writes\n%s", want)
		}
	}

	t.Chdir(t.TempDir())
	_, file, _ := strings.Cut(text, "```yaml\n")
	file, _, ok = strings.Cut(file, "```")
	if !ok {
		t.Fatal("no example of a file")
	}
	if err := os.WriteFile("photos.yaml", []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("runs/photos-selfcon-s", 0o755); err != nil {
		t.Fatal(err)
	}
	all, log, code := call(t.Context(), "config", "--config", "photos.yaml")
	if code != exitDone {
		t.Fatal(log)
	}
	if err := os.WriteFile("runs/photos-selfcon-s/config.yaml", []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ">")
		words := strings.Fields(line)
		for len(words) > 0 && strings.HasPrefix(words[0], config.EnvPrefix) {
			name, value, _ := strings.Cut(words[0], "=")
			t.Setenv(name, value)
			words = words[1:]
		}
		if len(words) < 2 || words[0] != "selfcon" || words[1] != "config" && words[1] != "train" {
			continue
		}
		tried++
		if _, log, code := call(t.Context(), append([]string{"config"}, words[2:]...)...); code != exitDone || strings.Contains(log, "warning") {
			t.Errorf("%s: exit code %d, %s", line, code, log)
		}
	}
	if tried < 6 {
		t.Errorf("%d examples", tried)
	}
}

// settingTables are the settings, a table a group.
func settingTables() string {
	var b strings.Builder
	def := config.Default()
	group := ""
	for _, s := range config.Settings() {
		if s.Group != group {
			group = s.Group
			note := ""
			if s.OfMachine() {
				note = "No result depends on these; `--resume` takes them.\n\n"
			}
			fmt.Fprintf(&b, "\n### %s\n\n%s| key | flag | variable | default | values | what it is |\n| --- | --- | --- | --- | --- | --- |\n", group, note)
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s | %s |\n", s.Key, s.Flag(), s.Env(), defaultOf(s, &def), strings.ReplaceAll(takes(s), "|", `\|`), strings.ReplaceAll(s.About, "|", `\|`))
	}
	return b.String()
}

func defaultOf(s *config.Setting, c *config.Run) string {
	switch text := s.Text(c); {
	case text != "":
		return "`" + text + "`"
	case s.Nullable:
		return "`null`"
	case s.Type() == "string":
		return "empty"
	}
	return "`[]`"
}

// takes says what values a setting has.
func takes(s *config.Setting) string {
	bounds := s.Range.String()
	each := func(one, many string) string {
		switch {
		case bounds == "":
			return many
		case one == "":
			return many + ", each " + bounds
		}
		return one + ", " + bounds
	}
	var out string
	switch s.Type() {
	case "bool":
		out = "`true`, `false`"
	case "int":
		out = each("whole number", "whole number")
	case "uint":
		out = fmt.Sprintf("whole number, at least 0 and at most %d", uint64(math.MaxUint64))
	case "float":
		out = each("number", "number")
	case "ints":
		out = each("", "list of whole numbers")
	case "floats":
		out = each("", "list of numbers")
	case "names":
		out = "list of names, or a file with one a line"
	default:
		switch {
		case s.Values != nil:
			var words []string
			empty := false
			for _, v := range s.Values() {
				if v == "" {
					empty = true
				} else {
					words = append(words, "`"+v+"`")
				}
			}
			out = strings.Join(words, ", ")
			if empty {
				out += "; or empty"
			}
		case s.Word != "":
			out = s.Word
		default:
			out = "word"
		}
	}
	if s.Nullable {
		out += "; or `null`"
	}
	return out
}
