// Command asm writes the assembly kernels of engine/cpu/kernel, and the Go
// stubs that declare them.
//
//	go run . [-dir DIR]
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

// files are what there is to write.
var files = []struct {
	name     string
	generate func(g *gen)
}{
	{"tiles_avx512", tilesAVX512},
	{"tiles_avx2", tilesAVX2},
	{"rows_avx512", func(g *gen) { rows(g, avx512) }},
	{"rows_avx2", func(g *gen) { rows(g, avx2) }},
	{"winograd_avx512", func(g *gen) { winograd(g, avx512) }},
	{"winograd_avx2", func(g *gen) { winograd(g, avx2) }},
	{"transpose_avx512", func(g *gen) { transpose(g, avx512) }},
	{"transpose_avx2", func(g *gen) { transpose(g, avx2) }},
	{"exp_avx512", func(g *gen) { exponentials(g, avx512) }},
	{"exp_avx2", func(g *gen) { exponentials(g, avx2) }},
	{"windows_avx512", func(g *gen) { windows(g, avx512) }},
	{"windows_avx2", func(g *gen) { windows(g, avx2) }},
}

const kernelDir = "../../engine/cpu/kernel"

func main() {
	dir := flag.String("dir", kernelDir, "where the kernels go")
	flag.Parse()
	if err := writeAll(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

func writeAll(dir string) error {
	for _, f := range files {
		if err := write(dir, f.name, f.generate); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
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
func write(dir, name string, generate func(*gen)) error {
	g := &gen{Context: build.NewContext()}
	g.ConstraintExpr("!purego")
	generate(g)
	file, err := g.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Name: "tools/asm", Pkg: "kernel"}
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(file)
		if err != nil {
			return err
		}
		// The old form of the build constraint is not wanted any more.
		text = bytes.Replace(text, []byte("// +build !purego\n"), nil, 1)
		if err := os.WriteFile(filepath.Join(dir, name+"_amd64"+ext), text, 0o644); err != nil {
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
