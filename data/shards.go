package data

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shardFile is one file of a set that comes in several.
type shardFile struct {
	path  string
	split string // train, val or test
}

// findShards lists the files that spec means: a file; the files with one of the
// extensions in a folder, at any depth; names with braces (train-{000..146}.tar,
// {train,val}.tar) or wildcards. They are sorted by split and naturally by name.
//
// A file's split is in its name or in the name of a folder on the way to it:
// train-00000-of-00005.parquet, validation/0000.parquet. A set in which nothing
// says so is all for training.
func findShards(spec, want string, exts ...string) ([]shardFile, error) {
	var paths []string
	root := ""
	st, err := os.Stat(spec)
	switch {
	case err == nil && st.IsDir():
		root = spec
		t := folder(spec)
		var walk func(dir string) error
		walk = func(dir string) error {
			entries, err := listed(t, dir)
			if err != nil {
				return err
			}
			for _, e := range entries {
				name := strings.TrimPrefix(dir+"/"+e.name, "/")
				if e.dir {
					if err := walk(name); err != nil {
						return err
					}
				} else if slices.ContainsFunc(exts, func(ext string) bool { return strings.HasSuffix(strings.ToLower(e.name), ext) }) {
					paths = append(paths, t.at(name))
				}
			}
			return nil
		}
		if err := walk(""); err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, badf(spec, "no %s files in this folder: it should be %s", strings.Join(exts, ", "), want)
		}
	case err == nil:
		root = filepath.Dir(spec)
		paths = []string{spec}
	default:
		names, tooMany := expandBraces(spec)
		if tooMany {
			return nil, badf(spec, "the braces stand for more than %d files", maxShards)
		}
		for _, name := range names {
			if len(names) > 1 && !strings.ContainsAny(name, "*?[") {
				paths = append(paths, name) // must be there
				continue
			}
			found, err := filepath.Glob(name)
			if err != nil {
				return nil, badf(spec, "%v", err)
			}
			paths = append(paths, found...)
		}
		if len(paths) == 0 {
			return nil, readFailed(spec, os.ErrNotExist)
		}
	}
	var out []shardFile
	any := false
	for _, p := range paths {
		rel := p
		if r, err := filepath.Rel(root, p); err == nil && root != "" {
			rel = r
		}
		s := shardSplit(rel)
		any = any || s != ""
		out = append(out, shardFile{p, s})
	}
	for i := range out {
		if !any {
			out[i].split = "train"
		} else if out[i].split == "" {
			return nil, badf(out[i].path, "its name says no split, as others' do: it should have train, val or test in it")
		}
	}
	if !slices.ContainsFunc(out, func(s shardFile) bool { return s.split == "train" }) {
		return nil, badf(spec, "no file of the split train")
	}
	order := map[string]int{"train": 0, "val": 1, "test": 2}
	slices.SortStableFunc(out, func(a, b shardFile) int {
		return cmp.Or(cmp.Compare(order[a.split], order[b.split]), naturally(a.path, b.path))
	})
	return out, nil
}

// shardSplit finds a word that means a split in a path, the last one first.
func shardSplit(path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(`/\-_. `, r) })
	for _, w := range slices.Backward(words) {
		if s := splitOf(w); s != "" {
			return s
		}
	}
	return ""
}

// maxShards bounds what braces may stand for.
const maxShards = 1 << 20

var braces = regexp.MustCompile(`\{([^{}]*)\}`)

// expandBraces replaces {a..b} (numbers, with leading zeros kept) and {x,y,…} by
// all they stand for.
func expandBraces(s string) (out []string, tooMany bool) {
	at := braces.FindStringSubmatchIndex(s)
	if at == nil {
		return []string{s}, false
	}
	inner := s[at[2]:at[3]]
	var words []string
	if from, to, ok := strings.Cut(inner, ".."); ok {
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b < a {
			return []string{s}, false
		}
		if b-a >= maxShards {
			return nil, true
		}
		for i := a; i <= b; i++ {
			n := strconv.Itoa(i)
			words = append(words, strings.Repeat("0", max(0, len(from)-len(n)))+n)
		}
	} else {
		words = strings.Split(inner, ",")
	}
	rest, tooMany := expandBraces(s[at[1]:])
	if tooMany || len(words)*len(rest) > maxShards {
		return nil, true
	}
	for _, w := range words {
		for _, r := range rest {
			out = append(out, s[:at[0]]+w+r)
		}
	}
	return out, false
}
