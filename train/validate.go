package train

// Validation is how well the network does on the validation images, part-way
// through a training.
type Validation struct {
	Measure string      `json:"measure"` // knn: nearest neighbours of the features; classifier: the trained classifier
	Exits   []ExitScore `json:"exits"`
	Score   float64     `json:"score"` // top-1 of the best exit, which the best checkpoint is chosen by
	Seconds float64     `json:"seconds"`
}

// ExitScore is the top-1 accuracy of an exit, from 0 to 1.
type ExitScore struct {
	Name string  `json:"name"`
	Top1 float64 `json:"top1"`
}
