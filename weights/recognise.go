package weights

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"selfcon/graph"
	"selfcon/model"
	"selfcon/train"
)

// Variables are a network's parameters and running statistics, without heads.
func Variables(c model.Config) ([]*graph.Variable, error) {
	net, err := model.New(c)
	if err != nil {
		return nil, err
	}
	p, err := train.NewEncoder(net, 1)
	if err != nil {
		return nil, err
	}
	return p.Variables, nil
}

// misfit is how a network's variables differ from a file's tensors.
type misfit struct {
	config           model.Config
	missing, unknown []string
	shapes           []string // name is …, must be …
}

func (m *misfit) count() int { return len(m.missing) + len(m.unknown) + len(m.shapes) }

func (m *misfit) String() string {
	var parts []string
	for _, x := range []struct {
		what  string
		names []string
	}{{"missing", m.missing}, {"not known to it", m.unknown}, {"of another shape", m.shapes}} {
		if len(x.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s: %s", len(x.names), x.what, some(x.names, 5)))
		}
	}
	return strings.Join(parts, "; ")
}

// Recognise finds the network whose encoder a file holds, by the names and
// shapes of its tensors: each must be there and nothing else. arch restricts
// the search to one architecture; empty: any. The image's height and width stay
// to be filled in.
func (f *File) Recognise(arch string) (model.Config, error) {
	shapes := map[string]graph.Shape{}
	for _, t := range f.Tensors {
		if strings.HasPrefix(t.Name, model.EncoderPrefix) {
			shapes[t.Name] = t.Shape
		}
	}
	var best *misfit
	for _, c := range candidates(shapes, arch) {
		vars, err := Variables(c)
		if err != nil {
			continue // no such combination
		}
		m := &misfit{config: c}
		known := map[string]bool{}
		for _, v := range vars {
			known[v.Name] = true
			s, ok := shapes[v.Name]
			switch {
			case !ok:
				m.missing = append(m.missing, v.Name)
			case !s.Equal(v.Shape):
				m.shapes = append(m.shapes, fmt.Sprintf("%s is %v, must be %v", v.Name, s, v.Shape))
			}
		}
		for _, t := range f.Tensors {
			if shapes[t.Name] != nil && !known[t.Name] {
				m.unknown = append(m.unknown, t.Name)
			}
		}
		if best == nil || m.count() < best.count() {
			best = m
		}
		if m.count() == 0 {
			c.ImageHeight, c.ImageWidth = 0, 0
			return c, nil
		}
	}
	switch {
	case best == nil && arch != "":
		return model.Config{}, bad(f.Path, "is no %s; its first tensors are %s", arch, some(nameList(f.Tensors), 3))
	case best == nil:
		return model.Config{}, bad(f.Path, "is no network that is known (%s); its first tensors are %s", strings.Join(model.Archs(), ", "), some(nameList(f.Tensors), 3))
	}
	return model.Config{}, bad(f.Path, "is no network that is known; the nearest is %s, but %v", Describe(best.config), best)
}

// Describe is a network in words.
func Describe(c model.Config) string {
	s := fmt.Sprintf("%s of width %d, stem %s", c.Arch, c.Width, c.Stem)
	if len(c.Exits) > 0 {
		s += ", " + c.SubNetworks()
	}
	return s
}

// anySide is the side of images that networks are built for to be compared:
// large enough for all of them.
const anySide = 64

// candidates are the networks that tensors of these shapes may belong to, by
// the first convolution, the first blocks and the exits.
func candidates(shapes map[string]graph.Shape, arch string) []model.Config {
	archs, first, widths := family(shapes)
	if arch != "" {
		archs = slices.DeleteFunc(archs, func(a string) bool { return a != arch })
	}
	if len(first) != 4 {
		return nil
	}
	base := model.Config{ImageHeight: anySide, ImageWidth: anySide, ImageChannels: first[1], Stem: model.SmallStem}
	if first[2] == 7 {
		base.Stem = model.LargeStem
	}
	exits := exits(shapes)
	subs := model.SubNetworks()
	if len(exits) == 0 {
		subs = subs[:1]
	}
	var out []model.Config
	for _, a := range archs {
		for _, w := range widths {
			for _, sub := range subs {
				c := base
				c.Arch, c.Width, c.Sub, c.Exits = a, w, model.SubNetwork(sub), exits
				if a == "efficientnet" && len(exits) > 0 {
					c.Exits = []int{1} // whose parts are numbered, not its exits
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// family finds the architectures by what a network begins with, the shape of its
// first convolution, and the widths that have as many channels there.
func family(shapes map[string]graph.Shape) (archs []string, first graph.Shape, widths []int) {
	prefix, scale := "", 1
	switch {
	case shapes["encoder.conv1.bias"] != nil && shapes["encoder.layer4.0.conv1.weight"] == nil:
		first, scale = shapes["encoder.conv1.weight"], 4
		archs = wide(shapes, first)
	case shapes["encoder.conv1.weight"] != nil:
		prefix, first = "resnet", shapes["encoder.conv1.weight"]
	case shapes["encoder.block1.0.weight"] != nil:
		prefix, first = "vgg", shapes["encoder.block1.0.weight"]
	case shapes["encoder._conv_stem.weight"] != nil:
		prefix, first, scale = "efficientnet", shapes["encoder._conv_stem.weight"], 2
		widths = []int{model.DefaultWidth} // channels are rounded: the usual one first
	default: // a ResNet with another stem, say
		return []string{"resnet50"}, graph.Shape{model.DefaultWidth, 3, 7, 7}, []int{model.DefaultWidth}
	}
	if len(first) > 0 && first[0] > 0 {
		widths = append(widths, scale*first[0])
	}
	if prefix == "" {
		return archs, first, widths
	}
	for _, a := range model.Archs() {
		if strings.HasPrefix(a, prefix) {
			archs = append(archs, a)
		}
	}
	return archs, first, widths
}

// wide is the wide ResNet that has as many blocks and channels as these.
func wide(shapes map[string]graph.Shape, first graph.Shape) []string {
	blocks := 0
	for shapes[fmt.Sprintf("encoder.layer1.%d.conv1.weight", blocks)] != nil {
		blocks++
	}
	one := shapes["encoder.layer1.0.conv1.weight"]
	if len(one) != 4 || len(first) != 4 || first[0] == 0 || blocks == 0 {
		return nil
	}
	return []string{fmt.Sprintf("wrn_%d_%d", 6*blocks+4, one[0]/first[0])}
}

var exitName = regexp.MustCompile(`^encoder\.selfcon_layer\.(\d{1,2})\.`)

// exits are the stages after which there are sub-networks.
func exits(shapes map[string]graph.Shape) []int {
	var out []int
	for name := range shapes {
		if m := exitName.FindStringSubmatch(name); m != nil {
			i, _ := strconv.Atoi(m[1])
			if !slices.Contains(out, i+1) {
				out = append(out, i+1)
			}
		}
	}
	slices.Sort(out)
	return out
}
