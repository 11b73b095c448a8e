package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/internal/shell"
	"selfcon/internal/suggest"
	"selfcon/run"
	"selfcon/weights"
)

func exportCommand() *cobra.Command {
	x := weights.Export{Format: weights.ExportFormats()[0]}
	out := ""
	cmd := &cobra.Command{
		Use:   "export RUN",
		Short: "Write a run's weights for PyTorch and Hugging Face, with a model card",
		Long: `Write a run's weights into a new folder, under the names of the paper's reference
code, and a model card (README.md) that says what was trained on what and how, how
good it is, and how to load it in PyTorch. For ResNets a module that loads the
weights strictly lies beside them (network.py). Of a probed run the linear
classifiers go along.`,
		Example: `  selfcon export runs/photos-selfcon-s
  selfcon export --format pth --out encoder runs/photos-selfcon-s    # for torch.load
  selfcon export --torchvision runs/imagenet-supcon                  # the backbone, for torchvision.models.resnet50`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := newReporter(cmd)
			defer r.end()
			if !slices.Contains(weights.ExportFormats(), x.Format) {
				return usagef("unknown format %q%s", x.Format, suggest.Among(x.Format, weights.ExportFormats()))
			}
			if ext := filepath.Ext(out); slices.Contains([]string{".safetensors", ".pth", ".pt"}, ext) {
				return usagef("--out %s: is the folder that the files go into, not the file of the weights, which is %s or, with --format pth, %s in it; name a folder, such as %s",
					out, weights.SafeFile, weights.TorchFile, cmp.Or(strings.TrimSuffix(filepath.Base(out), ext), "encoder"))
			}
			dir, m, err := openModel(r, args[0])
			if err != nil {
				return err
			}
			var res results
			err = checkpoint.ReadJSON(filepath.Join(dir, run.ResultsFile), &res)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				r.notef("the card says nothing of how good it is; first: selfcon probe %s", shell.Quote(dir))
			case err != nil:
				return err
			case len(res.Table) > 0:
				x.Results = &weights.Results{Split: res.Split, Images: res.Images, Labels: res.Labels, Table: res.Table}
			}
			if out == "" {
				out = run.Beside(dir, "export")
			}
			if err := x.Write(dir, out, m); err != nil {
				if errors.Is(err, weights.ErrUsage) {
					return usageError{err}
				}
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&x.Format, "format", x.Format, strings.Join(weights.ExportFormats(), " or ")+" (torch.save's format)")
	f.BoolVar(&x.Torchvision, "torchvision", false, "the backbone alone, under torchvision's names (ResNets of width 64)")
	f.StringVar(&out, "out", "", "the `folder` to write, which must be new (default: RUN-export)")
	complete(cmd, "format", weights.ExportFormats)
	return cmd
}
