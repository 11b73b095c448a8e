package main

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/report"
	"selfcon/run"
	"selfcon/tensorboard"
	"selfcon/train"
)

// board is what a training leaves to look at in its folder: TensorBoard's files
// and the pictures of the report. It never stops a training: what can't be
// written is told once.
type board struct {
	r      *reporter
	dir    string
	w      *tensorboard.Writer // nil: could not be made
	every  int                 // steps between two points
	steps  int                 // of an epoch
	failed bool
}

const (
	boardPoints = 2000 // steps of a run that get a point, about
	boardImages = 500  // of the embedding
	boardRows   = 6    // images of which views are drawn
	boardViews  = 8    // of each
)

// viewsTag is the tag of the augmented views.
const viewsTag = "views"

// newBoard begins the files of a training that goes on after a number of steps.
// What is written at a run's beginning is written where the files lack it: a
// process that was killed early may not have come to it.
func newBoard(r *reporter, f *run.Folder, t *train.Trainer) *board {
	c := t.Setup.Config
	b := &board{r: r, dir: f.Dir, steps: t.Batches(), every: max(1, c.Epochs*t.Batches()/boardPoints)}
	done := t.Epoch*t.Batches() + t.Batch
	lacks := func(tag string) bool {
		if done == 0 { // TensorBoard forgets what is there of step 1
			return true
		}
		there, err := tensorboard.Holds(f.Dir, tag)
		b.check(err)
		return !there
	}
	needViews, needSettings := lacks(viewsTag), lacks(tensorboard.SettingsTag)
	w, err := tensorboard.Create(f.Dir, int64(done)+1)
	if b.check(err); err == nil {
		b.w = w
	}
	if needSettings && b.w != nil {
		b.check(b.w.Settings(boardSettings(c)))
	}
	picture := filepath.Join(b.dir, report.ViewsFile)
	if _, err := os.Stat(picture); err == nil && !needViews {
		return b
	}
	im, err := drawViews(t.Setup, c.Augment, boardRows, boardViews)
	if b.check(err); err != nil {
		return b
	}
	b.check(checkpoint.Write(picture, func(w io.Writer) error { return png.Encode(w, im) }))
	if needViews && b.w != nil {
		b.check(b.w.Image(viewsTag, 1, im))
	}
	if b.w != nil {
		b.check(b.w.Flush())
	}
	return b
}

// boardSettings are a run's settings, numbers as such.
func boardSettings(c config.Run) map[string]any {
	settings := map[string]any{}
	for _, s := range config.Settings() {
		text := s.Text(&c)
		settings[s.Key] = text
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			settings[s.Key] = v
		}
	}
	return settings
}

// check warns of the first failure.
func (b *board) check(err error) {
	if err != nil && !b.failed {
		b.failed = true
		b.r.warnf("what TensorBoard and the report show is not complete: %v; the training goes on", err)
	}
}

// step adds what is known after a step.
func (b *board) step(p train.Progress) {
	if b.w == nil {
		return
	}
	step := p.Epoch*p.Batches + p.Batch
	point := func(tag string, v float64) { b.check(b.w.Scalar(tag, int64(step), v)) }
	if step%b.every == 0 || p.EpochDone {
		point("step/loss", p.Loss)
		point("step/lr", p.Rate)
	}
	if !p.EpochDone {
		return
	}
	point("epoch/loss", p.MeanLoss)
	if p.Top1 != nil {
		point("epoch/train_top1", *p.Top1)
	}
	point("epoch/images_per_s", p.ImagesPerSecond)
	if p.EpochTook > 0 {
		point("epoch/data_wait", p.EpochWaited.Seconds()/p.EpochTook.Seconds())
	}
	for _, x := range p.Exits {
		point("effective_rank/"+x.Name, x.EffectiveRank)
		point("uniformity/"+x.Name, x.Uniformity)
		if x.Alignment != nil {
			point("alignment/"+x.Name, *x.Alignment)
		}
	}
	if p.Validation != nil {
		for _, x := range p.Validation.Exits {
			point("validation/"+x.Name, x.Top1)
		}
	}
}

// embed writes the features of some validation images for the embedding
// projector, by the weights that the run is judged by: the averaged ones, where
// it keeps them.
func (b *board) embed(ctx context.Context, t *train.Trainer) {
	err := t.Averaged(func() error { return b.project(ctx, t.Engine, t.Setup) })
	if ctx.Err() == nil {
		b.check(err)
	}
}

func (b *board) project(ctx context.Context, e engine.Engine, s *train.Setup) error {
	all := s.Val
	if all == nil {
		all = s.Train
	}
	n := min(boardImages, all.Len())
	var some []int
	for i := range n {
		some = append(some, i*all.Len()/n)
	}
	images := data.Subset(all, some)
	f, err := extractor(e, s)(ctx, b.r, images, "embedded")
	if err != nil {
		return err
	}
	p := tensorboard.Projector{Columns: []string{"class", "image"}}
	for i, label := range f.Labels {
		p.Points = append(p.Points, []string{s.Classes[label], images.Name(i)})
	}
	for i, name := range f.Names {
		p.Embeddings = append(p.Embeddings, tensorboard.Embedding{Name: name, Dim: f.Dims[i], X: f.X[i]})
	}
	if p.Sprite, p.Picture, err = sprite(images); err != nil {
		return err
	}
	return p.Write(b.dir)
}

// sprite draws the images of a set, small, as a square table filled row by row.
func sprite(images data.Dataset) (image.Image, image.Point, error) {
	const side = 32
	columns := 1
	for columns*columns < images.Len() {
		columns++
	}
	table := image.NewNRGBA(image.Rect(0, 0, columns*side, columns*side))
	for i := range images.Len() {
		im, err := images.Image(i)
		if err != nil {
			return nil, image.Point{}, fmt.Errorf("%s: %w", images.Name(i), err)
		}
		left, top := i%columns*side, i/columns*side
		for y := range side {
			for x := range side {
				px := im.Pix[(y*im.Height/side*im.Width+x*im.Width/side)*im.Channels:]
				at := table.PixOffset(left+x, top+y)
				for k := range 3 {
					table.Pix[at+k] = px[k%im.Channels]
				}
				table.Pix[at+3] = 255
			}
		}
	}
	return table, image.Pt(side, side), nil
}

// close ends the files and writes the report.
func (b *board) close() {
	if b.w != nil {
		b.check(b.w.Close())
	}
	b.check(report.Write(b.dir))
}
