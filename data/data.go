// Package data reads labelled image sets: one file a format, one table of
// facts about the known ones (facts.go), and a loader that turns a set into
// batches with several workers (loader.go).
//
// It knows nothing of networks, losses or augmentation: a loader is given a
// Transform, and what it fills is a plain slice of float32.
package data

// Image is a decoded image: 8 bits a channel, rows from top to bottom,
// channels interleaved (HWC). Pix has Width*Height*Channels bytes.
// Channels is 1 (grey) or 3 (RGB).
type Image struct {
	Pix      []uint8
	Width    int
	Height   int
	Channels int
}

// Dataset is one split of a labelled image set. All methods are safe for
// concurrent use. The pixels that Image returns belong to the dataset and
// must not be written to.
type Dataset interface {
	// Len is the number of images.
	Len() int
	// Classes are the class names; a label is an index into them.
	Classes() []string
	// Label is the class of image i, in [0, len(Classes())).
	Label(i int) int
	// Image decodes image i. An error names the file and the reason.
	Image(i int) (Image, error)
	// Name says where image i comes from (a path, or archive and index), for messages.
	Name(i int) string
}

// Splits are the parts of a labelled image set. Train is never nil; Val and
// Test are nil where the source has none. All present splits have the same
// classes in the same order.
type Splits struct {
	Train Dataset
	Val   Dataset
	Test  Dataset
	// Notes are what a person should know: files that were passed over.
	Notes []string

	faults *faults // of Survey
}
