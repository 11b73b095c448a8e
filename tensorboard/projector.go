package tensorboard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The embedding projector's files: its configuration, which TensorBoard looks for
// in the run's folder, and those that it names.
const (
	ProjectorFile = "projector_config.pbtxt"
	embeddings    = "embeddings" // folder
	pointsFile    = embeddings + "/points.tsv"
	spriteFile    = embeddings + "/sprite.png"
)

// Embedding is a set of vectors, such as the features of an exit.
type Embedding struct {
	Name string
	Dim  int
	X    []float32 // a row of Dim numbers a point
}

// Projector is what the embedding projector shows of a run: the same points in
// one or more spaces.
type Projector struct {
	Embeddings []Embedding
	Columns    []string    // what is known of a point, at least two
	Points     [][]string  // a value a column
	Sprite     image.Image // the points' pictures, all of one size, as a square table filled row by row; nil: none
	Picture    image.Point // size of a picture
}

// Write writes the projector's files into a run's folder, in place of those that
// are there.
func (p *Projector) Write(dir string) error {
	if len(p.Columns) < 2 {
		return fmt.Errorf("tensorboard: a projector with %d columns: must be at least 2, since a file of one has no header", len(p.Columns))
	}
	// The configuration comes last and goes first, so that it names whole files.
	config := filepath.Join(dir, ProjectorFile)
	if err := os.Remove(config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, embeddings), 0o755); err != nil {
		return err
	}
	var text strings.Builder
	for _, e := range p.Embeddings {
		if e.Dim < 1 || len(e.X) != len(p.Points)*e.Dim {
			return fmt.Errorf("tensorboard: embedding %s: %d values for %d points of %d dimensions", e.Name, len(e.X), len(p.Points), e.Dim)
		}
		path := embeddings + "/" + fileName(e.Name) + ".tsv"
		if err := writeRows(filepath.Join(dir, path), len(p.Points), func(w *bufio.Writer, i int) {
			var number []byte
			for j, v := range e.X[i*e.Dim : (i+1)*e.Dim] {
				if j > 0 {
					w.WriteByte('\t')
				}
				number = strconv.AppendFloat(number[:0], float64(v), 'g', 6, 32)
				w.Write(number)
			}
		}); err != nil {
			return err
		}
		fmt.Fprintf(&text, "embeddings {\n  tensor_name: %q\n  tensor_shape: %d\n  tensor_shape: %d\n  tensor_path: %q\n  metadata_path: %q\n", e.Name, len(p.Points), e.Dim, path, pointsFile)
		if p.Sprite != nil {
			fmt.Fprintf(&text, "  sprite {\n    image_path: %q\n    single_image_dim: %d\n    single_image_dim: %d\n  }\n", spriteFile, p.Picture.X, p.Picture.Y)
		}
		text.WriteString("}\n")
	}
	if err := writeRows(filepath.Join(dir, pointsFile), len(p.Points)+1, func(w *bufio.Writer, i int) {
		values := p.Columns
		if i > 0 {
			values = p.Points[i-1]
		}
		for j, v := range values {
			if j > 0 {
				w.WriteByte('\t')
			}
			w.WriteString(oneCell(v))
		}
	}); err != nil {
		return err
	}
	if p.Sprite != nil {
		var picture bytes.Buffer
		if err := png.Encode(&picture, p.Sprite); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, spriteFile), picture.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(config, []byte(text.String()), 0o644)
}

// writeRows writes a file of n lines.
func writeRows(path string, n int, row func(w *bufio.Writer, i int)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		row(w, i)
		w.WriteByte('\n')
	}
	return errors.Join(w.Flush(), f.Close())
}

// oneCell is a text without what ends a cell of the table.
func oneCell(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// fileName is a name with what may trouble a file system replaced.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name)
}

// ReadEmbedding reads back an embedding and the points' columns that Write wrote,
// an error that is fs.ErrNotExist if there is none.
func ReadEmbedding(dir, name string) (e Embedding, columns []string, points [][]string, err error) {
	e.Name = name
	cells, err := readCells(filepath.Join(dir, pointsFile))
	if err != nil {
		return e, nil, nil, err
	}
	if len(cells) < 2 {
		return e, nil, nil, fmt.Errorf("%s: has no points", filepath.Join(dir, pointsFile))
	}
	path := filepath.Join(dir, embeddings, fileName(name)+".tsv")
	rows, err := readCells(path)
	if err != nil {
		return e, nil, nil, err
	}
	columns, points = cells[0], cells[1:]
	if len(rows) != len(points) {
		return e, nil, nil, fmt.Errorf("%s: has %d rows for %d points", path, len(rows), len(points))
	}
	for i, p := range points {
		if len(p) != len(columns) {
			return e, nil, nil, fmt.Errorf("%s:%d: %d cells, the first line has %d", filepath.Join(dir, pointsFile), i+2, len(p), len(columns))
		}
	}
	e.Dim = len(rows[0])
	for i, r := range rows {
		if len(r) != e.Dim {
			return e, nil, nil, fmt.Errorf("%s:%d: %d numbers, the first line has %d", path, i+1, len(r), e.Dim)
		}
		for _, cell := range r {
			v, err := strconv.ParseFloat(cell, 32)
			if err != nil {
				return e, nil, nil, fmt.Errorf("%s:%d: %q is not a number", path, i+1, cell)
			}
			e.X = append(e.X, float32(v))
		}
	}
	return e, columns, points, nil
}

// readCells reads a table of tab-separated cells.
func readCells(path string) ([][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}
