package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/loss"
	"selfcon/model"
)

// settingFlags declares the flags of some of a run's settings, or of all. They
// write into c; where there is none they keep their text, for trainSettings.
func settingFlags(cmd *cobra.Command, c *config.Run, keys ...string) {
	f := cmd.Flags()
	f.SortFlags = false
	defaults := config.Default()
	if c != nil {
		defaults = *c
	}
	for _, s := range config.Settings() {
		if len(keys) > 0 && !slices.Contains(keys, s.Key) {
			continue
		}
		flag := f.VarPF(&settingFlag{s, c, s.Text(&defaults)}, s.Flag(), "", s.About)
		if s.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
		if s.Key == "method" {
			complete(cmd, s.Flag(), explainedMethods)
		} else if s.Offers() != nil {
			complete(cmd, s.Flag(), s.Offers)
		}
	}
}

// settingFlag is the flag of a setting.
type settingFlag struct {
	setting *config.Setting
	run     *config.Run
	text    string
}

func (f *settingFlag) String() string { return f.text }
func (f *settingFlag) Type() string   { return cmp.Or(f.setting.Word, f.setting.Type()) }

func (f *settingFlag) Set(text string) error {
	f.text = text
	if f.run == nil {
		return nil
	}
	return f.setting.SetText(f.run, text, data.ReadClassList)
}

// explainedMethods are the methods with what they are, for the shell.
func explainedMethods() []string {
	var out []string
	for _, m := range loss.Methods() {
		out = append(out, m.Name+"\t"+m.About)
	}
	return out
}

// about is what a setting is, for flags of what is no run.
func about(key string) string { return config.FindSetting(key).About }

// machineFlags declares how much of the machine to use.
func machineFlags(f *pflag.FlagSet, threads, workers *int) {
	f.IntVar(threads, "threads", *threads, about("threads"))
	if workers != nil {
		f.IntVar(workers, "workers", *workers, about("workers"))
	}
}

// memoryFlag declares how the memory of a training step is dealt with.
func memoryFlag(cmd *cobra.Command, memory *string) {
	cmd.Flags().StringVar(memory, "memory", *memory, about("memory"))
	complete(cmd, "memory", func() []string { return config.Memories })
}

// complete offers values for a flag in the shell.
func complete(cmd *cobra.Command, flag string, values func() []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag's name is mistyped here
	}
}

func archNames() string { return strings.Join(model.Archs(), ", ") + "; any wrn_D_K with D = 6n+4" }

// absolute makes the path of a dataset independent of the working folder.
func absolute(spec string) string {
	name, path, ok := strings.Cut(spec, ":")
	if !ok || path == "" {
		return spec
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return name + ":" + path
}

func methodNames() string {
	var out []string
	for _, m := range loss.Methods() {
		out = append(out, m.Name)
	}
	return strings.Join(out, ", ")
}

func kernelNames() []string {
	var out []string
	for _, s := range kernel.Usable() {
		out = append(out, s.Name)
	}
	return out
}

func openEngine(threads int) (engine.Engine, error) {
	return openCPU(cpu.Options{Threads: threads})
}

// openCPU starts the engine; the environment may name its kernels.
func openCPU(o cpu.Options) (engine.Engine, error) {
	o.Kernels = os.Getenv(kernel.EnvVar)
	e, err := cpu.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return e, nil
}

// intList is a flag of ascending whole numbers, separated by commas.
type intList struct{ to *[]int }

func (l *intList) String() string {
	if l.to == nil {
		return ""
	}
	var out []string
	for _, v := range *l.to {
		out = append(out, strconv.Itoa(v))
	}
	return strings.Join(out, ",")
}

func (l *intList) Set(s string) error {
	var out []int
	for _, part := range strings.Split(s, ",") {
		if s == "" || s == "none" {
			break
		}
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not a whole number; give numbers separated by commas, such as 1,2", part)
		}
		out = append(out, v)
	}
	*l.to = out
	return nil
}

func (*intList) Type() string { return "numbers" }
