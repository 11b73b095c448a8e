package data

import (
	"bytes"
	"embed"
	"path"
	"sync"
)

// The sample is the first 1,000 training and the first 200 test images of each
// class of Fashion-MNIST, in the order of the original files, as gzipped IDX
// files: a real set that is always there. Its licence is sample/LICENSE (MIT).
//
//go:generate go run ../tools/sample -from ../fashion-mnist -to sample -train 10000 -test 2000
//go:embed sample
var sampleFiles embed.FS

// SampleLicense is the licence of the sample's images, to be shown with the
// program's other licences.
func SampleLicense() string {
	text, err := sampleFiles.ReadFile("sample/LICENSE")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// openSample decodes the sample, once in a program.
var openSample = sync.OnceValues(func() (Splits, error) {
	pair := func(split string) (*idxPair, error) {
		p := &idxPair{
			imagesPath: path.Join("sample", split+"-images-idx3-ubyte.gz"),
			labelsPath: path.Join("sample", split+"-labels-idx1-ubyte.gz"),
		}
		images, err := sampleFiles.ReadFile(p.imagesPath)
		if err != nil {
			return nil, readFailed(p.imagesPath, err)
		}
		labels, err := sampleFiles.ReadFile(p.labelsPath)
		if err != nil {
			return nil, readFailed(p.labelsPath, err)
		}
		if p.height, p.width, p.pix, err = parseIDXImages(p.imagesPath, bytes.NewReader(images), int64(len(images))); err != nil {
			return nil, err
		}
		if p.labels, err = parseIDXLabels(p.labelsPath, bytes.NewReader(labels), int64(len(labels))); err != nil {
			return nil, err
		}
		return p, nil
	}
	train, err := pair("train")
	if err != nil {
		return Splits{}, err
	}
	test, err := pair("t10k")
	if err != nil {
		return Splits{}, err
	}
	return Splits{Train: train.dataset(fashionMNISTClasses), Test: test.dataset(fashionMNISTClasses)}, nil
})
