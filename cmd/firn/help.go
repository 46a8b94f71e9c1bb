package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// newParser builds the parser of the command tree with firn's ways of giving help.
func newParser(c *cli, more ...kong.Option) *kong.Kong {
	for _, flags := range []*brokerFlags{&c.Dev.brokerFlags, &c.Broker.brokerFlags, &c.Config.Show.brokerFlags, &c.Config.Check.brokerFlags} {
		flags.prepare()
	}
	parser := kong.Must(c, append([]kong.Option{
		kong.Name("firn"),
		kong.Description("A broker that speaks the Kafka protocol and never forgets: hot segments on local disk, all of history in object storage. " +
			"Begin with `firn dev`."),
		kong.ValueFormatter(describeValue),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	}, more...)...)
	_ = kong.Visit(parser.Model, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok && f.PlaceHolder == "" {
			f.PlaceHolder = strings.ToUpper(f.Name) // kong would put the default there
		}
		return next(nil)
	})
	return parser
}

// describeValue is the help of a flag or argument with what a stranger asks next: which values there are, which one
// holds when none is given, and which variable sets it.
func describeValue(v *kong.Value) string {
	text := strings.TrimSuffix(v.Help, ".")
	var notes []string
	allowed := strings.Split(v.Enum, ",")
	if untold := func(value string) bool { return !strings.Contains(v.Help, value) }; v.Enum != "" && slices.ContainsFunc(allowed, untold) {
		notes = append(notes, "one of "+strings.Join(allowed, ", "))
	}
	if v.HasDefault && !v.IsBool() {
		notes = append(notes, "default "+v.Default)
	}
	for _, env := range v.Tag.Envs {
		notes = append(notes, "or $"+env)
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, "; ") + ")"
	}
	return text + "."
}

// printHelp is kong's help without those general flags that mean nothing to the command in question.
func printHelp(o kong.HelpOptions, ctx *kong.Context) error {
	if cmd := ctx.Selected(); cmd != nil {
		if cmd.DefaultCmd != nil { // what it does by itself has flags, too
			cmd.Flags = append(cmd.Flags, cmd.DefaultCmd.Flags...)
		}
		used := usedFlags(cmd)
		for _, f := range ctx.Model.Flags {
			f.Hidden = f.Hidden || f.Name != "help" && !slices.Contains(used, f.Name)
		}
	}
	return kong.DefaultHelpPrinter(o, ctx)
}

// usedFlags are the general flags that mean something to a command or to one of its subcommands.
func usedFlags(n *kong.Node) (used []string) {
	if uses := n.Tag.Get("uses"); uses != "" {
		used = strings.Split(uses, ",")
	}
	for _, child := range n.Children {
		used = append(used, usedFlags(child)...)
	}
	return used
}

// misplaced refuses a general flag on the command line of the broker itself, where whoever gave it means something
// that will not happen, and an output that a command does not have. The commands for clients take the other general
// flags all, so that scripts can give the same to each.
func misplaced(ctx *kong.Context) error {
	cmd := ctx.Selected()
	if cmd == nil {
		return nil
	}
	command := strings.Fields(cmd.FullPath())[1]
	for _, p := range ctx.Path {
		f := p.Flag
		if f == nil || !slices.Contains(ctx.Model.Flags, f) || f.Name == "help" {
			continue
		}
		if command == "dev" || command == "broker" {
			return fmt.Errorf("--%s is for the commands that talk to a broker; firn %s is the broker (see firn %s --help)", f.Name, command, command)
		}
		if f.Name == "output" && ctx.FlagValue(f) == outputYAML && (command != "config" || cmd.Name != "show") {
			return fmt.Errorf("--output yaml is for firn config; %s has table and json", cmd.FullPath())
		}
	}
	return nil
}

// Kong takes a negative number for a flag and says so in words that lead astray.
var (
	shortNegative    = regexp.MustCompile(`^(--[a-z-]+): expected .* but got "(-[0-9]+)" \(short flag\)`)
	negativeArgument = regexp.MustCompile(`^unknown flag (-[0-9]+)`)
)

// complaint says what is wrong with the arguments, and where help is.
func complaint(err error) error {
	var wrong *kong.ParseError
	if !errors.As(err, &wrong) {
		return err
	}
	at := "firn"
	if cmd := wrong.Context.Selected(); cmd != nil {
		at = cmd.FullPath()
	}
	if m := shortNegative.FindStringSubmatch(err.Error()); m != nil {
		err = fmt.Errorf("%s: write a negative number with the long flag and =, as in %s=%s", m[1], m[1], m[2])
	} else if m := negativeArgument.FindStringSubmatch(err.Error()); m != nil {
		err = fmt.Errorf("%s: partitions and offsets are numbers from 0", m[1])
	}
	return fmt.Errorf("%w (see %s --help)", err, at)
}
