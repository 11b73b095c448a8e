package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/train"
)

func dataShowCommand() *cobra.Command {
	c := config.Default()
	out := "views.png"
	images, views := 6, 8
	cmd := &cobra.Command{
		Use:   "show FORMAT[:PATH]",
		Short: "Draw augmented views of some images as a PNG",
		Long: `Draw what training will see: a row for each of some images, spread evenly over the
training split, the image itself first and then its augmented views. With --mixup or
--cutmix each column is a batch: a view is mixed with the one above it.`,
		Example: `  selfcon data show --out views.png imagefolder:photos
  selfcon data show --augment weak --crop-min 0.5 --image 64 imagefolder:photos
  selfcon data show --cutmix 1 imagefolder:photos`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if images < 1 || views < 1 || images > 1000 || views > 1000 {
				return usagef("%d images, %d views: must be from 1 to 1000", images, views)
			}
			if !cmd.Flags().Changed("out") {
				out = freeName(out)
			}
			if err := newFile(out); err != nil {
				return err
			}
			if !strings.EqualFold(filepath.Ext(out), ".png") {
				return usagef("--out %s: the drawing is a PNG; name it %s.png", out, strings.TrimSuffix(out, filepath.Ext(out)))
			}
			c.Data = args[0]
			c.Method = "ce" // takes every augmentation
			s, err := train.NewSetup(c)
			if err != nil {
				return err
			}
			im, err := drawViews(s, c.Augment, images, views)
			if err != nil {
				return err
			}
			if err := checkpoint.Write(out, func(w io.Writer) error { return png.Encode(w, im) }); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&out, "out", out, "the PNG `file` to write, which must not be there yet (by itself views-2.png and so on)")
	f.IntVar(&images, "images", images, "how many images")
	f.IntVar(&views, "views", views, "how many views of each")
	settingFlags(cmd, &c, "channels", "class_order", "classes", "image", "augment", "crop_min", "flip", "rand_augment", "auto_augment", "blur", "solarize", "erase", "mixup", "cutmix", "seed")
	return cmd
}

// cell is the least size of a picture in the drawing, in pixels; smaller images
// are drawn with larger pixels.
const cell = 96

// maxDrawing bounds a drawing, in pixels of 4 bytes.
const maxDrawing = 100_000_000

// drawViews draws rows of an image and its views, of which a column is mixed as a
// batch, if batches are.
func drawViews(s *train.Setup, preset string, images, views int) (image.Image, error) {
	c := s.Config
	h, w, ch := c.Model.ImageHeight, c.Model.ImageWidth, c.Model.ImageChannels // a view is h×w×ch
	plain, err := s.Transform("none")
	if err != nil {
		return nil, err
	}
	augmented, err := s.Transform(preset)
	if err != nil {
		return nil, err
	}
	images = min(images, s.Train.Len())
	scale := max(1, (cell+w-1)/w)
	const gap = 4
	across, down := (views+1)*(w*scale+gap)+gap, images*(h*scale+gap)+gap
	if across > maxDrawing/down {
		return nil, usagef("a drawing of %d×%d pixels (width×height) is too large: at most %d megapixels; take fewer --images or --views, or a smaller --image", across, down, maxDrawing/1_000_000)
	}
	all := image.NewNRGBA(image.Rect(0, 0, across, down))
	for i := range all.Pix {
		all.Pix[i] = 255
	}
	shown := make([]data.Image, images)
	at := func(row int) int { return row * s.Train.Len() / images }
	for row := range shown {
		if shown[row], err = s.Train.Image(at(row)); err != nil {
			return nil, err
		}
	}
	buf := make([]float32, images*h*w*ch)
	for col := range views + 1 {
		t := data.Transform(augmented)
		if col == 0 {
			t = plain
		}
		for row, im := range shown {
			if err := t(buf[row*h*w*ch:(row+1)*h*w*ch], im, rand.New(rand.NewPCG(c.Seed, uint64(at(row))<<16|uint64(col)))); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Train.Name(at(row)), err)
			}
		}
		if col > 0 {
			s.Mix(train.Place{Batch: col}).Apply(buf, images, h, w, ch)
		}
		for row := range shown {
			left, top := gap+col*(w*scale+gap), gap+row*(h*scale+gap)
			for y := range h * scale {
				for x := range w * scale {
					px := buf[(row*h*w+y/scale*w+x/scale)*ch:]
					var rgb [3]uint8
					for k := range 3 {
						m := k % ch
						v := float64(px[m])*c.Std[m] + c.Mean[m]
						rgb[k] = uint8(min(max(v*255+0.5, 0), 255))
					}
					all.SetNRGBA(left+x, top+y, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
				}
			}
		}
	}
	return all, nil
}

// freeName is path, or path with -2, -3, … in front of its extension, the first
// that is not there.
func freeName(path string) string {
	ext := filepath.Ext(path)
	name := path
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i, ext)
	}
}
