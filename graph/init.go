package graph

// InitKind is a way to choose a variable's first value.
type InitKind uint8

const (
	Zeros InitKind = iota
	Constant1
	Normal  // mean 0, standard deviation Scale
	Uniform // in [-Scale, Scale)
)

// Init says how a variable starts. The numbers depend on the seed and the
// variable's name alone, never on the order of declaration.
type Init struct {
	Kind  InitKind
	Scale float64
}
