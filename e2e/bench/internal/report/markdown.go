// Package report writes what a bench measured: as JSON case by case, as Markdown, as plots, and as a table for a
// terminal.
package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/machine"
	"github.com/firnlog/firn/e2e/bench/internal/profile"
)

// Number is a value with about three digits.
func Number(v float64) string {
	digits := 0
	switch a := math.Abs(v); {
	case a == 0 || a >= 100:
	case a >= 10:
		digits = 1
	case a >= 1:
		digits = 2
	case a >= 0.0005:
		digits = 3
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// Markdown is the report of all cases.
func Markdown(m machine.Description, results []*judge.Result) string {
	var s strings.Builder
	s.WriteString("# What the bench measured\n\nWritten by `make bench`. ")
	s.WriteString("Figures are medians of the rounds, in brackets the smallest and the largest. All sides of a case ran in turn in one run, " +
		"on the same machine and with the same client, which neither builds nor decodes records; client and server share the cores. " +
		"Absolute figures tell of the machine.\n\n")
	s.WriteString(describe(m, results))
	s.WriteString(summary(results))
	s.WriteString("\n![Each bar's ratio beside its bound](bars.svg)\n\n![CPU of each side](cpu.svg)\n")
	for _, r := range results {
		s.WriteString(chapter(r))
	}
	s.WriteString(legend)
	return s.String()
}

func describe(m machine.Description, results []*judge.Result) string {
	var s strings.Builder
	s.WriteString("| | |\n|---|---|\n")
	row := func(name, value string) { fmt.Fprintf(&s, "| %s | %s |\n", name, value) }
	row("processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores))
	row("memory", Number(m.MemoryGB)+" GB")
	row("kernel", m.Kernel)
	row("file system", m.FileSystem)
	row("device", m.Device)
	row("versions", fmt.Sprintf("firn %s, Go %s; Apache Kafka %s, Java %s, 1 GiB of heap, flags of its start script", commits(m, results), m.Go, m.Kafka, m.Java))
	var p50, p99, rate []float64
	for _, r := range results {
		if r.Fdatasync != nil {
			p50, p99 = append(p50, r.Fdatasync.P50), append(p99, r.Fdatasync.P99)
		}
		rate = append(rate, r.Device...)
	}
	if len(p50) > 0 {
		row("4 KiB with fdatasync, by case", fmt.Sprintf("p50 %s ms, p99 %s ms", ranged(judge.SpreadOf(p50)), ranged(judge.SpreadOf(p99))))
	}
	if len(rate) > 0 {
		row("writing with one fdatasync a MiB", ranged(judge.SpreadOf(rate))+" MB/s")
	}
	return s.String()
}

// commits names those of firn that were measured.
func commits(m machine.Description, results []*judge.Result) string {
	var list []string
	seen := map[string]bool{}
	for _, r := range results {
		if !seen[r.Commit] {
			seen[r.Commit] = true
			list = append(list, r.Commit)
		}
	}
	if len(list) == 0 {
		return m.Firn
	}
	return strings.Join(list, ", ")
}

// ranged is a median with the smallest and the largest.
func ranged(s judge.Spread) string {
	if s.N == 0 {
		return ""
	}
	if s.N == 1 {
		return Number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", Number(s.Median), Number(s.Min), Number(s.Max))
}

// summary counts what became of bars, but for what a trial or a case that ended early says of them.
func summary(results []*judge.Result) string {
	var decide, reported, own outcomes
	left := 0
	var missed []string
	for _, r := range results {
		for _, v := range r.Judge() {
			switch {
			case v.Trial || r.Error != "":
				left++
				continue
			case v.Bar.Own:
				own.add(v)
			case v.Reported:
				reported.add(v)
			default:
				decide.add(v)
			}
			if v.Outcome != judge.Met && v.Outcome != judge.NotRun { // nothing was missed by what was left out
				missed = append(missed, fmt.Sprintf("- %s: %s: %s (%s), %s", r.Case, v.Bar, median(v.Ratio), middle(v.Ratio), v.Text()))
			}
		}
	}
	s := "\n## Bars\n\nOf the bars that decide: " + decide.String() + ". Of those of throughput, which are reported: " + reported.String() +
		". Of those whose bound is the bench's own: " + own.String() + "."
	if left > 0 {
		s += fmt.Sprintf(" Not counted, because of trials and of cases that ended early: %d.", left)
	}
	if len(missed) > 0 {
		s += "\n\nAll that are not met (median, middle half):\n\n" + strings.Join(missed, "\n")
	}
	return s + "\n"
}

// outcomes counts what became of bars, what the ratio alone says of those that the device does not allow, and how many there
// are of cases in which much was stolen.
type outcomes struct {
	all, alone map[judge.Outcome]int
	stolen     int
}

func (o *outcomes) add(v judge.Verdict) {
	if o.all == nil {
		o.all, o.alone = map[judge.Outcome]int{}, map[judge.Outcome]int{}
	}
	o.all[v.Outcome]++
	if v.Outcome == judge.TooSlow {
		o.alone[v.Alone]++
	}
	if v.Stolen > 0 {
		o.stolen++
	}
}

func (o *outcomes) total() (n int) {
	for _, bars := range o.all {
		n += bars
	}
	return n
}

func (o *outcomes) String() string {
	s := counts(o.all)
	if len(o.alone) > 0 {
		s += " (by the ratio alone: " + counts(o.alone) + ")"
	}
	if o.stolen > 0 {
		s += fmt.Sprintf("; %d of all %d with more than %g%% of CPU time stolen", o.stolen, o.total(), 100*judge.MostStolen)
	}
	return s
}

func counts(of map[judge.Outcome]int) string {
	var all []string
	for _, o := range []judge.Outcome{judge.Met, judge.NotDecided, judge.NotMet, judge.TooSlow, judge.NotRun} {
		if of[o] > 0 {
			all = append(all, fmt.Sprintf("%d %s", of[o], o))
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func chapter(r *judge.Result) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n## %s\n\n%s %d alternations, rounds of %s s.\n", r.Case, r.About, r.Alternations(), Number(r.SecondsARound))
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(&s, "\nLeft out by `-side`: %s.\n", names(r.LeftOut))
	}
	if r.Error != "" {
		fmt.Fprintf(&s, "\n**It ended early:** %s\n", strings.ReplaceAll(r.Error, "\n", " "))
	}
	if about := particulars(r); len(about) > 0 {
		s.WriteString("\nIn this case: " + strings.Join(about, "; ") + ".\n")
	}
	if line := stolen(r); line != "" {
		s.WriteString("\nOf CPU time, by alternation: " + line + ".\n")
	}
	s.WriteString("\n| |")
	for _, side := range r.Sides {
		s.WriteString(" " + side + " |")
	}
	s.WriteString("\n|---" + strings.Repeat("|---", len(r.Sides)) + "|\n")
	for _, f := range r.Figures() {
		s.WriteString("| " + string(f) + " |")
		for _, side := range r.Sides {
			s.WriteString(" " + ranged(judge.SpreadOf(r.Values(side, f))) + " |")
		}
		s.WriteString("\n")
	}
	for _, p := range r.Profiles {
		fmt.Fprintf(&s, "\nCPU time of %s: %s.\n", p.Side, shares(p))
	}
	verdicts := r.Judge()
	if len(verdicts) == 0 {
		return s.String()
	}
	s.WriteString("\n| bar | median | middle half | |\n|---|---|---|---|\n")
	for _, v := range verdicts {
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", v.Bar, median(v.Ratio), middle(v.Ratio), v.Text())
	}
	return s.String()
}

// particulars lists what the head of the report tells of all cases together: which firn was measured, and how the device did.
func particulars(r *judge.Result) []string {
	var about []string
	if commit, _, _ := strings.Cut(r.Commit, " "); commit != "" { // what else there is stands in the head
		about = append(about, "firn "+commit)
	}
	if r.Fdatasync != nil {
		about = append(about, fmt.Sprintf("4 KiB with fdatasync p50 %s ms, p99 %s ms", Number(r.Fdatasync.P50), Number(r.Fdatasync.P99)))
		if len(r.Device) > 0 {
			about = append(about, fmt.Sprintf("one fdatasync a MiB %s MB/s", ranged(judge.SpreadOf(r.Device))))
		}
	}
	return about
}

// names lists sides, in whose names there may be commas.
func names(sides []string) string { return strings.Join(sides, "; ") }

// stolen tells what the machine's host took away during the alternations, and what was done about it; empty where that is
// not known.
func stolen(r *judge.Result) string {
	if len(r.Stolen) == 0 {
		return ""
	}
	percent := make([]float64, len(r.Stolen))
	for i, s := range r.Stolen {
		percent[i] = math.Round(1000*s) / 10
	}
	line := "stolen " + ranged(judge.SpreadOf(percent)) + " %"
	if r.Repeated > 0 {
		noun := "alternations"
		if r.Repeated == 1 {
			noun = "alternation"
		}
		line += fmt.Sprintf(", %d %s repeated because more than %g%% was stolen", r.Repeated, noun, 100*judge.MostStolen)
	}
	return line
}

// shares names the kinds of work of a profile, if that has samples enough.
func shares(p judge.Profile) string {
	if p.Samples > 0 && p.Samples < profile.Enough {
		return fmt.Sprintf("too few samples: %d", p.Samples)
	}
	all := make([]string, len(p.Groups))
	for i, g := range p.Groups {
		all[i] = fmt.Sprintf("%s %.1f%%", g.Name, g.Percent)
	}
	return strings.Join(all, ", ")
}

func median(s judge.Spread) string {
	if s.N == 0 {
		return ""
	}
	return Number(s.Median)
}

func middle(s judge.Spread) string {
	if s.N == 0 {
		return ""
	}
	return Number(s.Q1) + "–" + Number(s.Q3)
}

const legend = `
## What is counted

- A bar is judged on the ratios of the two sides within each alternation, of which a verdict needs nine. *Met*: the median
  meets it. *Not decided*: the median misses it and the middle half of the ratios lies on both sides of it. *Not met*: neither
  meets it. Where a bar depends on the device, that must take the same bytes, as they are on the wire, with one fdatasync a MiB
  at 1.25 times the rate asked, by the mean of a second before the alternation and one after it; where it does not, what becomes
  of the ratio alone is printed, too.
- Trials, of fewer alternations or shorter rounds than 10 s, and cases that ended early count in no sum of bars. A verdict of a case in which more than 5% of
  CPU time was stolen says so. Some bounds are the bench's own, where what is asked for has no number.
- MB and GB are of record batches as they were before a producer compressed them; wire/byte is how many bytes are sent, and
  written, for each of those.
- CPU is of the server's process, user and system (/proc/PID/stat); client CPU is of the bench, which is the client.
- Stolen is the share of all processors' time that the machine's host gave to others while there was work here (steal in
  /proc/stat). After the alternations asked for, the one with the most is done again, as a whole, as long as that is more
  than 5%, at most half as often as there are alternations; of the two, the one with less is kept. Nothing else decides. What
  the other one measured is in the case's JSON (dropped). In a case with a bar that must hold every time none is done again.
- Peak is VmHWM, reset before each round, or of a process from its start; the page cache is not in it.
- Written is write_bytes of /proc/PID/io: pages that the server dirtied for a device, those of files that are deleted before
  they are written back among them. The journal of the file system is not in it. The kernel counts a whole folio, which may be
  2 MiB, when one page of it is dirtied again after it was written back, though the device gets that page alone: where small
  records are flushed into a file that was filled in large steps, as a flush journal is, this is many times what is written.
- Device is what the disk that the server's folder is on took during the round (/sys/dev/block/*/stat), whoever wrote it: the
  file system's journal is in it, and a MinIO on that disk; what only the page cache has at the round's end is not.
- Switches are context switches, voluntary or not, of the server's threads, but for threads that ended during the round.
- I/O calls are syscr and syscw of /proc/PID/io, which are not all system calls: reads and writes, vectored ones too, are in it
  once and sendfile twice; send, fdatasync, epoll and futex are not. With send firn and the source send what does not come
  from a file, the sink and Kafka with write: of a produce, the answers of these two are in it and those of firn are not.
- Latency at a fixed rate is that of case d, of the second of b, and of f and g: it counts from the moment at which a record was
  due, whether it could be sent then or not. Cases a, c, e and the first of b run as fast as they can: their latency
  counts from when each request was sent, and where several are unanswered it is of requests that queue behind each other.
`
