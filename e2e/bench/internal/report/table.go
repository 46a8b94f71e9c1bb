package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
)

// Table prints a case for a terminal: a column for each side, then its bars.
func Table(w io.Writer, r *judge.Result) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	head := table.Row{""}
	for _, s := range r.Sides {
		head = append(head, s)
	}
	t.AppendHeader(head)
	for _, f := range r.Figures() {
		row := table.Row{string(f)}
		for _, side := range r.Sides {
			row = append(row, ranged(judge.SpreadOf(r.Values(side, f))))
		}
		t.AppendRow(row)
	}
	if _, err := fmt.Fprintf(w, "%s\n%s\n", r.Case, t.Render()); err != nil {
		return err
	}
	for _, v := range r.Judge() {
		if v.Outcome == judge.NotRun {
			continue
		}
		if _, err := fmt.Fprintf(w, "  %-72s %6s (%s)  %s\n", v.Bar, median(v.Ratio), middle(v.Ratio), v.Text()); err != nil {
			return err
		}
	}
	if len(r.LeftOut) > 0 {
		if _, err := fmt.Fprintf(w, "  left out by -side: %s\n", names(r.LeftOut)); err != nil {
			return err
		}
	}
	if line := stolen(r); line != "" {
		if _, err := fmt.Fprintf(w, "  CPU time: %s\n", line); err != nil {
			return err
		}
	}
	if r.Error != "" {
		if _, err := fmt.Fprintf(w, "  it ended early: %s\n", r.Error); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}
