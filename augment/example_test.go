package augment_test

import (
	"fmt"
	"math/rand/v2"

	"selfcon/augment"
	"selfcon/data"
)

// A preset, one change, and an image: here a grey one for a network that
// takes three channels.
func Example() {
	c := augment.Strong(32, 32, []float64{0.4914, 0.4822, 0.4465}, []float64{0.2023, 0.1994, 0.2010})
	c.CropMin = 0.5 // milder crops, for short runs
	transform, err := augment.New(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	im := data.Image{Pix: make([]uint8, 28*28), Width: 28, Height: 28, Channels: 1}
	dst := make([]float32, 32*32*3)
	if err := transform(dst, im, rand.New(rand.NewPCG(1, 2))); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n", dst[:3]) // black, normalised

	c.CropMin = 1.5
	fmt.Println(c.Validate())
	// Output:
	// [-2.429 -2.418 -2.221]
	// augment: CropMin 1.5: the smallest crop is a part of the image's area, in (0, 1]; 0 means no random crop
}
