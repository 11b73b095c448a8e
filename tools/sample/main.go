// Sample cuts a small balanced sample out of a set of IDX files: the first
// images of each class, in the order of the files. It made data/sample from
// Fashion-MNIST:
//
//	go run ./tools/sample -from fashion-mnist -to data/sample -train 10000 -test 2000
//
// The same input gives the same bytes.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"selfcon/data"
)

func main() {
	from := flag.String("from", "", "folder with the IDX files of Fashion-MNIST")
	to := flag.String("to", "data/sample", "folder to write")
	train := flag.Int("train", 10000, "training images in all, a multiple of the number of classes")
	test := flag.Int("test", 2000, "test images in all, a multiple of the number of classes")
	flag.Parse()
	if err := run(*from, *to, *train, *test); err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1)
	}
}

func run(from, to string, train, test int) error {
	if from == "" {
		return fmt.Errorf("-from is missing: the folder with train-images-idx3-ubyte.gz and the other IDX files")
	}
	splits, err := data.Open("fashion-mnist:"+from, data.Options{})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, part := range []struct {
		split string
		ds    data.Dataset
		n     int
	}{{"train", splits.Train, train}, {"t10k", splits.Test, test}} {
		indices, err := first(part.ds, part.n)
		if err != nil {
			return fmt.Errorf("%s: %w", part.split, err)
		}
		images, labels, err := idx(data.Subset(part.ds, indices))
		if err != nil {
			return err
		}
		for name, raw := range map[string][]byte{"images-idx3": images, "labels-idx1": labels} {
			path := filepath.Join(to, part.split+"-"+name+"-ubyte.gz")
			n, err := writeGzip(path, raw)
			if err != nil {
				return err
			}
			fmt.Printf("%s: %d bytes\n", path, n)
		}
	}
	return nil
}

// first are the indices of the first n/classes images of each class, ascending.
func first(ds data.Dataset, n int) ([]int, error) {
	classes := len(ds.Classes())
	if n <= 0 || n%classes != 0 {
		return nil, fmt.Errorf("%d images can't be balanced: give a multiple of %d", n, classes)
	}
	each := n / classes
	count := make([]int, classes)
	var indices []int
	for i := range ds.Len() {
		if l := ds.Label(i); count[l] < each {
			count[l]++
			indices = append(indices, i)
		}
	}
	for l, c := range count {
		if c < each {
			return nil, fmt.Errorf("class %q has only %d images, %d are wanted", ds.Classes()[l], c, each)
		}
	}
	return indices, nil
}

// idx is a grey set as an images file and a labels file.
func idx(ds data.Dataset) (images, labels []byte, err error) {
	n := uint32(ds.Len())
	labels = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0x801), n)
	for i := range ds.Len() {
		im, err := ds.Image(i)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			for _, v := range []uint32{0x803, n, uint32(im.Height), uint32(im.Width)} {
				images = binary.BigEndian.AppendUint32(images, v)
			}
		}
		images = append(images, im.Pix...)
		labels = append(labels, byte(ds.Label(i)))
	}
	return images, labels, nil
}

// writeGzip compresses raw as well as it can, with neither name nor time in the
// header, and gives the size.
func writeGzip(path string, raw []byte) (int, error) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := z.Write(raw); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	return buf.Len(), os.WriteFile(path, buf.Bytes(), 0o644)
}
