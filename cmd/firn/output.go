package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/term"
)

const outputJSON = "json"

// errInterrupted ends a command after Ctrl-C without a complaint.
var errInterrupted = errors.New("interrupted")

// interruptible gives a context that ends with SIGINT or SIGTERM.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printTable writes rows for a person: plain columns, no frame, so that it can be cut and grepped too.
func printTable(w io.Writer, header table.Row, rows []table.Row) { newTable(w, header, rows).Render() }

// printRows answers a command whose result is a list: a script gets the rows, a person a table of their cells.
func printRows[R any](c *cli, rows []R, header table.Row, cells func(R) table.Row) error {
	if c.Output == outputJSON {
		return printJSON(os.Stdout, rows)
	}
	out := make([]table.Row, 0, len(rows))
	for _, r := range rows {
		out = append(out, cells(r))
	}
	printTable(os.Stdout, header, out)
	return nil
}

func newTable(w io.Writer, header table.Row, rows []table.Row) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(header)
	t.AppendRows(rows)
	return t
}

// onTerminal reports whether a person watches f: only then are progress bars and hints shown.
func onTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// humanBytes prints a size with a binary unit.
func humanBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, s := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		value /= unit
		suffix = s
		if value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}

// reportDeleted says what a command deleted, kind before each name, and returns what it could not delete.
func (c *cli) reportDeleted(kind string, deleted []string, failed []error) error {
	if c.Output == outputJSON {
		if err := printJSON(os.Stdout, map[string]any{"deleted": deleted}); err != nil {
			return err
		}
	} else {
		for _, name := range deleted {
			fmt.Printf("%s%s deleted\n", kind, name)
		}
	}
	return errors.Join(failed...)
}
