// Command asm writes the assembly kernels of engine/cpu/kernel and internal/pixels,
// and the Go stubs that declare them.
//
//	go run . [-root DIR]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// packages are what there is to write, a file a line.
var packages = []struct {
	dir, name string
	files     []file
}{
	{"engine/cpu/kernel", "kernel", kernelFiles},
	{"internal/pixels", "pixels", []file{
		{"resample", resample},
		{"colour", colour},
		{"jpeg", jpegKernels},
	}},
}

type file struct {
	name     string
	generate func(g *gen)
}

var kernelFiles = []file{
	{"tiles_avx512", tilesAVX512},
	{"tiles_avx2", tilesAVX2},
	{"rows_avx512", func(g *gen) { rows(g, avx512) }},
	{"rows_avx2", func(g *gen) { rows(g, avx2) }},
	{"winograd_avx512", func(g *gen) { winograd(g, avx512) }},
	{"winograd_avx2", func(g *gen) { winograd(g, avx2) }},
	{"winostride_avx512", func(g *gen) { winostride(g, avx512) }},
	{"winostride_avx2", func(g *gen) { winostride(g, avx2) }},
	{"transpose_avx512", func(g *gen) { transpose(g, avx512) }},
	{"transpose_avx2", func(g *gen) { transpose(g, avx2) }},
	{"exp_avx512", func(g *gen) { exponentials(g, avx512) }},
	{"exp_avx2", func(g *gen) { exponentials(g, avx2) }},
	{"windows_avx512", func(g *gen) { windows(g, avx512) }},
	{"windows_avx2", func(g *gen) { windows(g, avx2) }},
}

const repository = "../.."

func main() {
	root := flag.String("root", repository, "the repository, where the kernels go")
	flag.Parse()
	if err := writeAll(*root); err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

func writeAll(root string) error {
	for _, p := range packages {
		for _, f := range p.files {
			if err := write(filepath.Join(root, p.dir), p.name, f); err != nil {
				return fmt.Errorf("%s/%s: %w", p.dir, f.name, err)
			}
		}
	}
	return nil
}

// gen is a context for one file, with what every kernel here needs.
type gen struct {
	*build.Context
	labels int
}

// write runs a generator and writes DIR/NAME_amd64.{s,go}.
func write(dir, pkg string, f file) error {
	g := &gen{Context: build.NewContext()}
	g.ConstraintExpr("!purego")
	f.generate(g)
	file, err := g.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Name: "tools/asm", Pkg: pkg}
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(file)
		if err != nil {
			return err
		}
		// The old form of the build constraint is not wanted any more.
		text = bytes.Replace(text, []byte("// +build !purego\n"), nil, 1)
		if err := os.WriteFile(filepath.Join(dir, f.name+"_amd64"+ext), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a function.
func (g *gen) begin(name, signature, doc string) {
	g.Function(name)
	g.SignatureExpr(signature)
	g.Attributes(attr.NOSPLIT)
	g.Pragma("noescape")
	g.Doc(strings.Split(name+" "+doc, "\n")...)
	g.labels = 0
}

// label returns a name for a label that is new in this function.
func (g *gen) label(what string) string {
	g.labels++
	return fmt.Sprintf("%s%d", what, g.labels)
}
