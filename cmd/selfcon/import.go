package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/run"
	"selfcon/train"
	"selfcon/weights"
)

func importCommand() *cobra.Command {
	c := config.Run{ClassOrder: config.Default().ClassOrder} // what the flags say of the data
	arch, prefix, out := "", "", ""
	image := 0
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a run of a network that was trained elsewhere",
		Long: `Read the weights of a network from a PyTorch checkpoint (.pth, .pt: torch.save since
1.6) or a safetensors file, and make a run's folder of it, for selfcon probe,
predict, finetune and train --init. Known are the networks of the paper's
reference code and the ResNets of torchvision and timm; which one it is, is told
from names and shapes, and every tensor must fit.

Nothing in a file is executed: a pickle that names anything but tensors and plain
data is refused.

Without --data the run has no classes yet: the first selfcon probe --data gives
them.`,
		Example: `  selfcon import resnet50.pth
  selfcon import --data cifar100:cifar-100-binary.tar.gz save/last.pth   # of the paper's code
  selfcon import --out runs/mine model.safetensors
  selfcon import --prefix encoder_q. moco.pth                       # one of several networks in a file`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := newReporter(cmd)
			defer r.end()
			if arch != "" {
				if err := model.CheckArch(arch); err != nil {
					return &config.Error{Setting: "arch", Reason: err.Error()}
				}
			}
			if err := config.FindSetting("image").SetText(new(config.Run), strconv.Itoa(image), nil); err != nil {
				return &config.Error{Setting: "image", Reason: err.Error()}
			}
			if _, err := os.Stat(filepath.Join(args[0], run.ManifestFile)); err == nil || run.IsCheckpoint(args[0]) {
				dir := shell.Quote(args[0])
				return usagef("%s is a run's, to be used as it is: selfcon probe %s, selfcon export %s, selfcon train --init %s", args[0], dir, dir, dir)
			}
			if out == "" {
				base := filepath.Base(args[0])
				out = run.Fresh(filepath.Join("runs", strings.TrimSuffix(base, filepath.Ext(base))))
			}
			c.Data = absolute(c.Data)
			if err := importFile(r, args[0], arch, prefix, image, c, out); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			if c.Data == "" {
				r.sayf("next: selfcon probe --data FORMAT:PATH %s", shell.Quote(out))
			} else {
				r.sayf("next: selfcon probe %s", shell.Quote(out))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&arch, "arch", "", "the network, if it should be this one or none: "+archNames()+" (default: told from the file)")
	f.StringVar(&prefix, "prefix", "", "what the names of the network begin with in the file, such as encoder_q. (default: found)")
	f.IntVar(&image, "image", 0, "side of the square images in pixels (default: as in training, where that is known, otherwise 224 or, with a stem for small images, 32)")
	settingFlags(cmd, &c, "data", "class_order", "classes")
	f.StringVar(&out, "out", "", "the run's `folder`, which must be new (default: runs/ and the file's name)")
	complete(cmd, "arch", model.Archs)
	return cmd
}

// importFile makes a run in out of the network in a file.
func importFile(r *reporter, path, arch, prefix string, image int, given config.Run, out string) error {
	f, err := weights.Read(path, prefix)
	if err != nil {
		return err
	}
	network, err := f.Recognise(arch)
	if err != nil {
		return err
	}
	c, notes := f.Settings(network)
	r.sayf("%s, %s: %s", f.Format, f.Naming, weights.Describe(network))
	if image > 0 {
		c.Image, c.Model.ImageHeight, c.Model.ImageWidth = image, image, image
		notes = append(notes, fmt.Sprintf("images of %d×%d all the same, as asked for", image, image))
	}
	if f.Average {
		r.sayf("the moving averages of the weights are taken, by which the run is judged; --prefix %s takes the weights themselves", model.EncoderPrefix)
	}
	for _, n := range notes {
		r.sayf("%s", n)
	}
	if len(f.Left) > 0 {
		r.sayf("left out, no part of the encoder or its heads: %s", weights.Some(f.Left))
	}
	m := run.Manifest{}
	if given.Data != "" {
		c.Data, c.ClassOrder, c.ClassList = given.Data, given.ClassOrder, given.ClassList
		s, err := train.NewSetup(c)
		if err != nil {
			return err
		}
		if m, err = run.NewManifest(s, nil, versionString()); err != nil {
			return err
		}
	} else {
		net, err := model.New(c.Model)
		if err != nil {
			return &config.Error{Setting: "image", Reason: err.Error()}
		}
		c.Model = net.Config
		if m, err = run.NewManifest(nil, nil, versionString()); err != nil {
			return err
		}
		m.Config = c
	}
	undo, err := run.NewFolder(out)
	if err != nil {
		return err
	}
	if err := f.Import(out, m); err != nil {
		return errors.Join(err, undo()) // no half of a run
	}
	return nil
}
