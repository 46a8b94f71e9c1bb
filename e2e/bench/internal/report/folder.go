package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/machine"
)

// Folder holds the results of one machine: a JSON file for each case, one for the machine, and what is made of them. A
// file is replaced as a whole, so that a run that is cut short leaves what was measured before. For one goroutine.
type Folder struct {
	dir     string
	machine machine.Description
	results map[string]*judge.Result // by case
	fresh   []string                 // cases of this run, in order
}

const (
	machineFile = "machine.json"
	casesDir    = "cases"
	profilesDir = "profiles"
)

// Open reads a folder, or makes it.
func Open(dir string) (*Folder, error) {
	f := &Folder{dir: dir, results: map[string]*judge.Result{}}
	if err := os.MkdirAll(filepath.Join(dir, casesDir), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for the results: %w", err)
	}
	if err := read(filepath.Join(dir, machineFile), &f.machine); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, casesDir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		r := &judge.Result{}
		if err := read(name, r); err != nil {
			return nil, err
		}
		f.results[r.Case] = r
	}
	return f, nil
}

func read(name string, into any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s is not a result of the bench (delete it to measure anew): %w", name, err)
	}
	return nil
}

// Machine says where the results are from. A folder that holds those of another machine is not mixed with them.
func (f *Folder) Machine(m machine.Description) error {
	old := f.machine
	if len(f.results) > 0 && (old.CPU != m.CPU || old.Cores != m.Cores || old.Kernel != m.Kernel || old.Device != m.Device) {
		return fmt.Errorf("the results in %s are of another machine (%s, %d cores, kernel %s): name another folder with -out, or delete it", f.dir, old.CPU, old.Cores, old.Kernel)
	}
	f.machine = m
	return f.replace(machineFile, m)
}

// Has says whether a case was measured to its end, with so many alternations and rounds so long at least, and which commit of
// firn that was.
func (f *Folder) Has(name string, alternations int, round time.Duration) (commit string, has bool) {
	r := f.results[name]
	if r == nil || r.Error != "" || r.Alternations() < alternations || r.SecondsARound < round.Seconds() {
		return "", false
	}
	return r.Commit, true
}

// Judge has a case that was measured judged by the bars that it has now, if it does now what it did then, by its description.
func (f *Folder) Judge(name, about string, bars []judge.Bar) error {
	r := f.results[name]
	if r == nil || r.About != about || slices.Equal(r.Bars, bars) {
		return nil
	}
	r.Bars = bars
	return f.writeCase(r)
}

// Add takes over what a case measured, and writes its profiles to be read.
func (f *Folder) Add(r *judge.Result) error {
	f.results[r.Case] = r
	f.fresh = append(f.fresh, r.Case)
	for _, p := range r.Profiles {
		if err := os.MkdirAll(filepath.Join(f.dir, profilesDir), 0o755); err != nil {
			return fmt.Errorf("make the folder for profiles: %w", err)
		}
		if err := f.replaceText(filepath.Join(profilesDir, slug(r.Case)+"-"+slug(p.Side)+".txt"), []byte(r.Case+": "+p.Side+"\n"+p.Text)); err != nil {
			return err
		}
	}
	return f.writeCase(r)
}

func (f *Folder) writeCase(r *judge.Result) error {
	return f.replace(filepath.Join(casesDir, slug(r.Case)+".json"), r)
}

// slug is a name of which files can be called.
func slug(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}

// Write reports on all cases in the folder, and prints those of this run.
func (f *Folder) Write(table io.Writer) error {
	all := f.Results()
	if len(all) == 0 {
		return nil
	}
	if err := f.replaceText("results.md", []byte(Markdown(f.machine, all))); err != nil {
		return err
	}
	for name, draw := range map[string]func([]*judge.Result) ([]byte, error){"bars.svg": Bars, "cpu.svg": CPU} {
		picture, err := draw(all)
		if err != nil {
			return fmt.Errorf("draw %s: %w", name, err)
		}
		if err := f.replaceText(name, picture); err != nil {
			return err
		}
	}
	for _, name := range f.fresh {
		if err := Table(table, f.results[name]); err != nil {
			return err
		}
	}
	return nil
}

// Results gives the cases by their names: by letter, then by what is counted.
func (f *Folder) Results() []*judge.Result {
	all := make([]*judge.Result, 0, len(f.results))
	for _, r := range f.results {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *judge.Result) int { return compare(a.Case, b.Case) })
	return all
}

// compare orders names so that numbers in them count as numbers.
func compare(a, b string) int { return strings.Compare(padded(a), padded(b)) }

func padded(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if strings.Trim(w, "0123456789") == "" {
			words[i] = fmt.Sprintf("%09s", w)
		}
	}
	return strings.Join(words, " ")
}

func (f *Folder) replace(name string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.replaceText(name, append(text, '\n'))
}

func (f *Folder) replaceText(name string, text []byte) error {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
