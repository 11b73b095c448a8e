package data

import (
	"context"
	"math"
	"strings"
)

// Facts are what is known of a public set before it is opened.
type Facts struct {
	// Name is the set's name; of the sets that have a format of their own, also the format's.
	Name string
	// Title is how people write the name.
	Title string
	// Height and Width of every image, in pixels; of sets whose images differ
	// (ImageNet) the size they are commonly cropped to.
	Height, Width int
	// Channels is 1 (grey) or 3 (RGB).
	Channels int
	// NumClasses is the number of classes.
	NumClasses int
	// Classes are their names in label order; nil where only the files tell them.
	Classes []string
	// Train and Test are the numbers of images in the splits; Test is the
	// labelled split that results are published on (for ImageNet and Tiny
	// ImageNet, that is val).
	Train, Test int
	// Mean and Std are what inputs are normalised with, a value a channel, of
	// pixels in [0, 1].
	Mean, Std []float64
}

// factsTable is the one table of facts. "The reference code" is that of
// self-contrastive learning (Bae et al. 2023),
// https://github.com/raymin0223/self-contrastive-learning, main_represent.py.
var factsTable = []Facts{
	{
		// Classes, sizes: https://www.cs.toronto.edu/~kriz/cifar.html
		//
		// Mean: of the training pixels, also in the reference code.
		// Std: the reference code's, which are the mean over images of each
		// image's own std, a widespread convention. The std over all training
		// pixels is (0.2470, 0.2435, 0.2616).
		Name: "cifar10", Title: "CIFAR-10",
		Height: 32, Width: 32, Channels: 3, NumClasses: 10, Classes: cifar10Classes,
		Train: 50000, Test: 10000,
		Mean: []float64{0.4914, 0.4822, 0.4465}, Std: []float64{0.2023, 0.1994, 0.2010},
	},
	{
		// Classes, sizes: https://www.cs.toronto.edu/~kriz/cifar.html
		// Mean, std: of the training pixels, also in the reference code.
		Name: "cifar100", Title: "CIFAR-100",
		Height: 32, Width: 32, Channels: 3, NumClasses: 100, Classes: cifar100Classes,
		Train: 50000, Test: 10000,
		Mean: []float64{0.5071, 0.4867, 0.4408}, Std: []float64{0.2675, 0.2565, 0.2761},
	},
	{
		// Classes, sizes: https://github.com/zalandoresearch/fashion-mnist
		// Mean, std: of the training pixels (the tests compute them).
		Name: "fashion-mnist", Title: "Fashion-MNIST",
		Height: 28, Width: 28, Channels: 1, NumClasses: 10, Classes: fashionMNISTClasses,
		Train: 60000, Test: 10000,
		Mean: []float64{0.2860}, Std: []float64{0.3530},
	},
	{
		// The first images of each class of Fashion-MNIST; normalised as the whole.
		Name: "sample", Title: "Fashion-MNIST sample",
		Height: 28, Width: 28, Channels: 1, NumClasses: 10, Classes: fashionMNISTClasses,
		Train: 10000, Test: 2000,
		Mean: []float64{0.2860}, Std: []float64{0.3530},
	},
	{
		// Sizes: http://yann.lecun.com/exdb/mnist/
		// Mean, std: of the training pixels, as in PyTorch's MNIST example
		// (https://github.com/pytorch/examples, mnist/main.py).
		Name: "mnist", Title: "MNIST",
		Height: 28, Width: 28, Channels: 1, NumClasses: 10, Classes: digits(10),
		Train: 60000, Test: 10000,
		Mean: []float64{0.1307}, Std: []float64{0.3081},
	},
	{
		// Sizes: http://cs231n.stanford.edu/tiny-imagenet-200.zip
		// Mean, std: the reference code uses ImageNet's.
		Name: "tinyimagenet", Title: "Tiny ImageNet",
		Height: 64, Width: 64, Channels: 3, NumClasses: 200,
		Train: 100000, Test: 10000,
		Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225},
	},
	{
		// Sizes: ILSVRC 2012 (Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575).
		// Mean, std: torchvision's, also in the reference code.
		Name: "imagenet", Title: "ImageNet (ILSVRC 2012)",
		Height: 224, Width: 224, Channels: 3, NumClasses: 1000,
		Train: 1281167, Test: 50000,
		Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225},
	},
}

// FactsOf are the facts of the set that spec ("name" or "name:path") names.
// There are none for idx and imagefolder, which may be any set; see Stats. The
// names of sets that have no format of their own (imagenet, tinyimagenet) are
// known too, for a folder that holds one. The slices are shared: don't write to them.
func FactsOf(spec string) (Facts, bool) {
	name, _, _ := strings.Cut(spec, ":")
	for _, f := range factsTable {
		if f.Name == name {
			return f, true
		}
	}
	return Facts{}, false
}

// Stats are the mean and standard deviation of each channel, of pixels in
// [0, 1], over at most max images spread evenly over ds (all images if max is
// 0). Every pixel counts the same, whatever its image's size. An error is that
// of the first image that can't be read, or an *Error if the images differ in
// channels.
func Stats(ds Dataset, max int) (mean, std []float64, err error) {
	return StatsContext(context.Background(), ds, max, nil)
}

// StatsContext is Stats, which ends early when ctx does and tells its progress.
// Images are decoded by several goroutines; the sums do not depend on how many.
func StatsContext(ctx context.Context, ds Dataset, max int, progress func(done, total int)) (mean, std []float64, err error) {
	n := ds.Len()
	if n == 0 {
		return nil, nil, &Error{Path: "dataset", Reason: "no images to compute mean and standard deviation from"}
	}
	if max > 0 {
		n = min(n, max)
	}
	indices := make([]int, n)
	for k := range indices {
		indices[k] = int(int64(k) * int64(ds.Len()) / int64(n))
	}
	some := Subset(ds, indices)
	// A mean of value and one of value², summed image by image.
	var sum, squares []float64
	var count float64
	const chunk = 512
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		parts := make([]imageSums, hi-lo)
		if err := eachImage(ctx, some, lo, hi, 0, func(i int, im Image, err error) { parts[i-lo] = sumsOf(im, err) }); err != nil {
			return nil, nil, err
		}
		for k, p := range parts {
			if p.err != nil {
				return nil, nil, p.err
			}
			if sum == nil {
				sum, squares = make([]float64, p.channels), make([]float64, p.channels)
			}
			if p.channels != len(sum) {
				return nil, nil, badf(some.Name(lo+k), "%d channels, but images before it have %d", p.channels, len(sum))
			}
			for c := range sum {
				sum[c] += float64(p.sum[c])
				squares[c] += float64(p.squares[c])
			}
			count += p.pixels
		}
		if progress != nil {
			progress(hi, n)
		}
	}
	mean, std = make([]float64, len(sum)), make([]float64, len(sum))
	for c := range sum {
		m := sum[c] / count
		mean[c] = m / 255
		std[c] = math.Sqrt(math.Max(0, squares[c]/count-m*m)) / 255
	}
	return mean, std, nil
}

// imageSums are one image's part of Stats.
type imageSums struct {
	channels     int
	sum, squares [3]uint64
	pixels       float64
	err          error
}

func sumsOf(im Image, err error) imageSums {
	p := imageSums{channels: im.Channels, pixels: float64(im.Width * im.Height), err: err}
	for c := range im.Channels {
		for at := c; at < len(im.Pix); at += im.Channels {
			v := uint64(im.Pix[at])
			p.sum[c] += v
			p.squares[c] += v * v
		}
	}
	return p
}

// fashionMNISTClasses are in label order, as in the table at
// https://github.com/zalandoresearch/fashion-mnist#labels.
var fashionMNISTClasses = []string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

// cifar10Classes are in label order, as in the distributed batches.meta.
var cifar10Classes = []string{
	"airplane", "automobile", "bird", "cat", "deer",
	"dog", "frog", "horse", "ship", "truck",
}

// cifar100Classes are the fine labels in label order, as in the distributed
// fine_label_names.txt.
var cifar100Classes = strings.Fields(`
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
`)
