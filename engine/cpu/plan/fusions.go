package plan

// Fusion is a pass that joins steps. Each can be left out.
type Fusion struct {
	Name string
	Run  func(*List)
}

// Fusions are all of them, in their order.
var Fusions = []Fusion{
	{"FuseNorm", FuseNorm},
	{"FuseMask", FuseMask},
	{"FuseAccumulate", FuseAccumulate},
	{"FuseAfter", FuseAfter},
	{"FuseLoad", FuseLoad},
	{"FuseBoth", FuseBoth},
	{"FuseUpdate", FuseUpdate},
}
