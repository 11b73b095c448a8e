package main

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// photoSets are where images are loaded from: a dataset of ours and the folder that
// it is made of.
var photoSets = map[string]struct{ spec, folder string }{
	"jpeg":      {"imagefolder:large", "large"},
	"packed":    {"packed:large.pack", "large"},
	"packed256": {"packed:large256.pack", "large"},
	"small":     {"packed:small.pack", "small"},
}

// preparePhotos writes the images and packs them, as a user would.
func (o options) preparePhotos() error {
	if err := writePhotos(o.dir, 128); err != nil {
		return err
	}
	for _, pack := range [][]string{{"large", "large.pack"}, {"large", "large256.pack", "--short", "256"}, {"small", "small.pack"}} {
		args := append([]string{"data", "pack", "imagefolder:" + filepath.Join(o.dir, pack[0]), filepath.Join(o.dir, pack[1])}, pack[2:]...)
		if out, err := exec.Command(o.selfcon, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("packing: %w: %s", err, out)
		}
	}
	return nil
}

// writePhotos writes n images that are as rich in detail as photographs as JPEGs of
// 500×375 (quality 93, quarter-size chroma, about 100 kB, as ImageNet's are), and n
// of 32×32 as PNGs, each as folders of two classes:
// dir/large/train/CLASS/N.jpg, dir/small/train/CLASS/N.png.
func writePhotos(dir string, n int) error {
	for i := range n {
		name := filepath.Join("train", string(rune('a'+i%2)), fmt.Sprint(i))
		large := photo(500, 375, uint64(i))
		if err := writeImage(filepath.Join(dir, "large", name+".jpg"), func(w *bufio.Writer) error {
			return jpeg.Encode(w, large, &jpeg.Options{Quality: 93})
		}); err != nil {
			return err
		}
		if err := writeImage(filepath.Join(dir, "small", name+".png"), func(w *bufio.Writer) error {
			return png.Encode(w, photo(32, 32, uint64(i)))
		}); err != nil {
			return err
		}
	}
	return nil
}

func writeImage(path string, encode func(w *bufio.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := encode(w); err != nil {
		return err
	}
	return w.Flush()
}

// photo adds up noise of all scales, its strength falling with the frequency as
// photographs' does, a few edges, and a grain.
func photo(w, h int, seed uint64) image.Image {
	r := rand.New(rand.NewPCG(seed, 1))
	sum := make([][3]float64, w*h)
	for cell := 4; cell < 2*w; cell *= 2 {
		gw, gh := w/cell+2, h/cell+2
		grid := make([][3]float64, gw*gh)
		for i := range grid {
			light := r.NormFloat64()
			for c := range 3 {
				grid[i][c] = light + 0.4*r.NormFloat64()
			}
		}
		strength := 30 * math.Sqrt(float64(cell)/float64(w))
		for y := range h {
			for x := range w {
				fx, fy := float64(x)/float64(cell), float64(y)/float64(cell)
				i := int(fy)*gw + int(fx)
				fx, fy = fx-math.Floor(fx), fy-math.Floor(fy)
				for c := range 3 {
					top := grid[i][c]*(1-fx) + grid[i+1][c]*fx
					bottom := grid[i+gw][c]*(1-fx) + grid[i+gw+1][c]*fx
					sum[y*w+x][c] += strength * (top*(1-fy) + bottom*fy)
				}
			}
		}
	}
	for range 6 { // half planes
		a, b, d := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()*float64(w)/4
		step := [3]float64{20 * r.NormFloat64(), 20 * r.NormFloat64(), 20 * r.NormFloat64()}
		for i := range sum {
			if a*float64(i%w-w/2)+b*float64(i/w-h/2) > d {
				for c := range 3 {
					sum[i][c] += step[c]
				}
			}
		}
	}
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for i, v := range sum {
		grain := 13 * r.NormFloat64()
		var px [3]uint8
		for c := range 3 {
			px[c] = uint8(min(max(110+v[c]+grain, 0), 255))
		}
		im.SetRGBA(i%w, i/w, color.RGBA{px[0], px[1], px[2], 255})
	}
	return im
}
