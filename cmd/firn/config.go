package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/firnlog/firn/cmd/firn/config"
)

type configCmd struct {
	Show   configShowCmd   `cmd:"" default:"withargs" help:"Show the configuration that a broker would start with: each value, where it comes from and what it means (what firn config alone does)." uses:"output"`
	Check  configCheckCmd  `cmd:"" help:"Check a configuration without starting anything." uses:"output"`
	Import configImportCmd `cmd:"" help:"Make a firn.yaml from Kafka's server.properties, and say what it took, what it dropped and why." uses:"output"`
}

type configShowCmd struct {
	brokerFlags
	All bool `help:"Show the broker configs that nobody set too."`
}

const outputYAML = "yaml"

func (s *configShowCmd) Run(c *cli) error {
	e, err := s.load()
	if err != nil {
		return err
	}
	values := e.Values(s.All)
	switch c.Output {
	case outputJSON:
		return printJSON(os.Stdout, values)
	case outputYAML:
		file, err := config.YAML(values)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(file)
		return err
	}
	rows := make([]table.Row, 0, len(values))
	for _, v := range values {
		rows = append(rows, table.Row{v.Key, v.Text(), v.Source, v.Doc})
	}
	printFitted(os.Stdout, table.Row{"key", "value", "source", "meaning"}, rows)
	return nil
}

// printFitted is printTable for tables whose last column is prose: on a terminal that column is broken into lines, so
// that the others stay columns.
func printFitted(f *os.File, header table.Row, rows []table.Row) {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		printTable(f, header, rows)
		return
	}
	rest := 0
	for col := range len(header) - 1 {
		widest := 0
		for _, r := range append([]table.Row{header}, rows...) {
			widest = max(widest, len([]rune(fmt.Sprint(r[col]))))
		}
		rest += widest + 2
	}
	t := newTable(f, header, rows)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: len(header), WidthMax: max(30, width-rest-2), WidthMaxEnforcer: text.WrapSoft}})
	t.Render()
}

type configCheckCmd struct {
	brokerFlags
}

func (k *configCheckCmd) Run(c *cli) error {
	e, err := k.load()
	if err == nil {
		err = e.CheckBroker()
	}
	if err != nil {
		return err
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"ok": true, "file": k.Config})
	}
	what := k.Config
	if what == "" {
		what = "the configuration (without a file)"
	}
	fmt.Printf("%s is in order: firn broker would start with it (firn config shows it in full).\n", what)
	return nil
}

type configImportCmd struct {
	File string `arg:"" help:"Kafka's server.properties; - is standard input." placeholder:"FILE"`
	To   string `help:"Where to write the new file, which must not be there yet; without, to standard output." placeholder:"FILE"`
}

func (i *configImportCmd) Run(c *cli) error {
	data, err := i.read()
	if err != nil {
		return err
	}
	m, err := config.Import(data)
	if err != nil {
		return fmt.Errorf("%s: %w", i.File, err)
	}
	if err := i.write(m.YAML); err != nil {
		return err
	}
	if c.Output == outputJSON {
		return printJSON(os.Stderr, m)
	}
	reportImport(os.Stderr, m)
	if i.To != "" {
		fmt.Fprintf(os.Stderr, "\nWritten to %s. See what it makes: firn config --config %s\n", i.To, i.To)
	}
	return nil
}

func (i *configImportCmd) read() ([]byte, error) {
	if i.File == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, config.MaxFile+1))
	}
	f, err := os.Open(i.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxFile+1))
}

func (i *configImportCmd) write(file []byte) error {
	if i.To == "" {
		_, err := os.Stdout.Write(file)
		return err
	}
	f, err := os.OpenFile(i.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // a password may be in it
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: remove it, or choose another name with --to", i.To)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(file)
	return errors.Join(err, f.Close())
}

func reportImport(w *os.File, m *config.Imported) {
	rows := make([]table.Row, 0, len(m.Taken))
	for _, t := range m.Taken {
		rows = append(rows, table.Row{t.Name, t.Key, t.Value, t.Note})
	}
	fmt.Fprintf(w, "Took %d.\n", len(rows))
	if len(rows) > 0 {
		printFitted(w, table.Row{"from", "to", "value", "note"}, rows)
	}
	rows = rows[:0:0]
	for _, d := range m.Dropped {
		rows = append(rows, table.Row{d.Name, d.Reason})
	}
	fmt.Fprintf(w, "\nDropped %d.\n", len(rows))
	if len(rows) > 0 {
		printFitted(w, table.Row{"name", "why"}, rows)
	}
	fmt.Fprintln(w, "\nNot as in Kafka, unless you set it:")
	for _, n := range m.Notes {
		fmt.Fprintln(w, "  "+n)
	}
}
