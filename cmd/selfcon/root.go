package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/data"
	"selfcon/internal/suggest"
)

// version is set by release builds (-ldflags "-X main.version=…").
var version = ""

// root makes the command, which prints to stdout and stderr.
func root(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "selfcon",
		Short: "Self-contrastive learning of image encoders: train, judge, run",
		Long: `selfcon trains image encoders by self-contrastive learning (SelfCon, AAAI 2023):
a network with several exits contrasts their outputs, on one view of each image.
It then judges every exit with linear probes, and classifies with any of them.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 bad data,
130 interrupted (what a training has learnt is saved).`,
		Example: `  selfcon quickstart                                   # a minute, nothing to download
  selfcon train --data imagefolder:photos --width 8    # your own images, a small network
  selfcon probe runs/photos-selfcon-s
  selfcon predict --run runs/photos-selfcon-s cat.jpg`,
		Version:       versionString(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.AddCommand(quickstartCommand(), trainCommand(), compareCommand(), probeCommand(), finetuneCommand(), predictCommand(), importCommand(), exportCommand(), dataCommand(), modelsCommand(), presetsCommand(), configCommand(), runsCommand(), benchCommand(), versionCommand())
	logFlags(cmd)
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkLogFlags(cmd) }
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.InitDefaultHelpCmd()
	cmd.InitDefaultCompletionCmd() // notes where to print
	explain(cmd)
	return cmd
}

// explain gives the commands that cobra adds, and wrong arguments, the manners
// of the others.
func explain(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, help
		case "completion":
			c.Short = "Print a shell's completion script"
			c.Example = "  source <(selfcon completion bash)"
			c.Args, c.RunE = noCommand, func(cmd *cobra.Command, _ []string) error {
				return usagef("say which shell: %s", strings.Join(names(cmd), ", "))
			}
		}
		if args := c.Args; args != nil {
			c.Args = func(cmd *cobra.Command, a []string) error {
				err := args(cmd, a)
				if err == nil || errors.As(err, new(usageError)) {
					return err
				}
				use := cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
				given := "no argument"
				if len(a) > 0 {
					given = strconv.Quote(strings.Join(a, " "))
					if all := required(cmd.Use); len(a) < len(all) {
						example, _, _ := strings.Cut(strings.TrimSpace(cmd.Example), "\n")
						if example != "" {
							example = ", for example: " + example
						}
						return usagef("%s is missing after %s; the command is: %s%s; see %s --help", all[len(a)], given, use, example, cmd.CommandPath())
					}
				}
				return usagef("%s given, but the command is: %s; see %s --help", given, use, cmd.CommandPath())
			}
		}
		explain(c)
	}
}

// required are the arguments that a command must have, by its line of use; none
// where flags are among them.
func required(use string) []string {
	all := strings.Fields(use)[1:]
	if n := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "[") }); n >= 0 {
		all = all[:n]
	}
	if slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, "-") }) {
		return nil
	}
	return all
}

// help is the command of that name, which refuses what is no command's.
func help(cmd *cobra.Command, args []string) error {
	of, rest, err := cmd.Root().Find(args)
	if err != nil {
		return usageError{err}
	}
	if len(rest) > 0 && len(names(of)) == 0 {
		return usagef("%s has no command %q; see %s --help", of.CommandPath(), rest[0], of.CommandPath())
	}
	if err := noCommand(of, rest); err != nil {
		return err
	}
	return of.Help()
}

func names(cmd *cobra.Command) []string {
	var out []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			out = append(out, c.Name())
		}
	}
	return out
}

// noCommand refuses a word where a subcommand is expected.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q of %s%s", args[0], cmd.CommandPath(), suggest.Among(args[0], names(cmd)))
	}
	return nil
}

var unknownFlag = regexp.MustCompile(`^unknown flag: --(\S+)`)

// kinds are what the values of flags are, in a reader's words.
var kinds = map[string]string{"int": "a whole number", "uint64": "a whole number from 0", "float64": "a number", "bool": "true or false"}

// flagError says what a flag's value should be, or which flag was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var bad *data.Error // a file that the flag names
	if errors.As(err, &bad) {
		return bad
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		reason := errors.Unwrap(invalid).Error()
		_, setting := f.Value.(*settingFlag) // which says it itself
		if kind := kinds[f.Value.Type()]; kind != "" && !setting {
			reason = "must be " + kind
		}
		return usagef("--%s %q: %s; see %s --help", f.Name, invalid.GetValue(), reason, cmd.CommandPath())
	}
	hint := ""
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if n, ok := suggest.Nearest(m[1], known); ok {
			hint = fmt.Sprintf("; did you mean --%s?", n)
		}
	}
	return usageError{fmt.Errorf("%w%s; see %s --help", err, hint, cmd.CommandPath())}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the Go that built it and the kernels this machine runs",
		Example: "  selfcon version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(cmd.OutOrStdout(), "selfcon %s (%s, %s/%s, kernels: %s)\n",
				versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(kernelNames(), ", "))
			return nil
		},
	}
}

// versionString is the release, or what Go's build information tells.
func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = "devel " + s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v
}
