package hot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/firnlog/firn/tier/disk"
)

// dirtyFile, in the log directory, is there from the first start on. Its line says on which kernel the last start was, and in
// words what those that follow have to know, however they come about: a clean stop in between does not make it untrue.
const dirtyFile = ".firn-dirty"

// The words of the mark.
const (
	// doubtMark says that a write or flush failed since the kernel started: what the page cache shows may not be on the disk,
	// and the kernel takes it for clean, for as long as it lives.
	doubtMark = "doubt"
	// lostMark says that a page cache was lost with what had been acknowledged from it, and nobody has dealt with that yet.
	lostMark = "lost"
	// leftMark says that logs may have in this kernel's page cache what the disk has not, and were not opened since, or a
	// recovery of one did not come to its end. If the kernel goes, that is lost as well.
	leftMark = "left"
)

// markRoom is how long all words are.
const markRoom = len(doubtMark + " " + lostMark + " " + leftMark)

// mark is what dirtyFile says.
type mark struct {
	boot              string // the kernel's id
	doubt, lost, left bool
}

// marks is the mark as it is in the file.
type marks struct {
	mu  sync.Mutex
	now mark
}

// line is the file's content. It is as long whatever the words are, so that a mark can be written over another.
func (m mark) line() []byte {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{{m.doubt, doubtMark}, {m.lost, lostMark}, {m.left, leftMark}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return fmt.Appendf(nil, "%s %-*s\n", m.boot, markRoom, strings.Join(words, " "))
}

// parseMark reads a line, also one of former versions, which knew doubtMark alone. whole is false if it has no end.
func parseMark(b []byte) (m mark, whole bool) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return mark{}, false
	}
	has := func(word string) bool { return slices.Contains(words[1:], word) }
	return mark{boot: words[0], doubt: has(doubtMark), lost: has(lostMark), left: has(leftMark)}, whole
}

// howLeft finds out how the last process left the directory.
func (d *Dir) howLeft() error {
	b, err := disk.ReadFile(d.fs, filepath.Join(d.root, dirtyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, whole := parseMark(b)
	torn := err == nil && !whole // the kernel may be the same or not: what is worse in either case is to be assumed
	d.rebooted = torn || m.boot != d.boot
	m.lost = m.lost || torn || m.left && d.rebooted
	m.left = m.left && !d.rebooted
	m.doubt = torn || m.doubt && !d.rebooted
	m.boot = d.boot
	d.marks.now, d.doubt = m, m.doubt
	d.unfinished.Store(m.left)
	_, clean := d.fs.Stat(filepath.Join(d.root, cleanFile))
	switch {
	case clean == nil:
		d.stop = StopClean
	case !errors.Is(clean, fs.ErrNotExist):
		return clean
	case err != nil:
		d.stop = StopNone
	case d.rebooted:
		d.stop = StopCrashed
	default:
		d.stop = StopKilled
	}
	return nil
}

// markStart leaves the mark that the directory is in use, on this kernel. It need not survive a power cut: what it replaces
// says that the kernel is another one, too.
func (d *Dir) markStart() error {
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	if d.stop == StopCrashed {
		d.marks.now.lost = true
	}
	err := d.writeMark(d.marks.now, false)
	if errors.Is(err, fs.ErrNotExist) {
		return disk.WriteFileSync(d.fs, filepath.Join(d.root, dirtyFile), d.marks.now.line())
	}
	return err
}

// remark changes the mark, which a process that is killed leaves behind, but not a machine that stops: then the kernel is
// another one, and that says it all.
func (d *Dir) remark(change func(m *mark)) error {
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	next := d.marks.now
	change(&next)
	if next == d.marks.now {
		return nil
	}
	if err := d.writeMark(next, false); err != nil {
		return err
	}
	d.marks.now = next
	return nil
}

// markStop makes the mark durable, before the clean marker says that nothing was left behind but what the mark says.
func (d *Dir) markStop() error {
	d.mu.Lock()
	unopened := len(d.onDisk) > 0 || d.overlooked
	d.mu.Unlock()
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	m := &d.marks.now
	m.left = unopened && (m.left || d.stop == StopKilled)
	return d.writeMark(*m, true)
}

// writeMark writes a mark over the one that is there, in one piece and without room on the disk: neither a full one nor a
// process that is killed leaves half a mark, or none. It fails with fs.ErrNotExist if there is none yet.
func (d *Dir) writeMark(m mark, durably bool) error {
	f, err := d.fs.OpenFile(filepath.Join(d.root, dirtyFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(m.line(), 0); err == nil && durably {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// PowerLost reports whether records that were acknowledged from the page cache, which a topic may be told to do, may have been
// lost with it since somebody last said that this was dealt with (PowerLossSettled): by a stop of the machine that was not
// clean, perhaps before several starts that did not get that far. Offsets may then be handed out again.
func (d *Dir) PowerLost() bool {
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	return d.marks.now.lost
}

// PowerLossSettled has PowerLost report false, now and after the next starts. After an error they may report it again.
func (d *Dir) PowerLossSettled() error {
	if err := d.remark(func(m *mark) { m.lost = false }); err != nil {
		return fmt.Errorf("noting in %s that a lost page cache was dealt with: %w", d.root, err)
	}
	return nil
}

// beginRecovery notes that a log is recovered, before anything of it is changed.
func (d *Dir) beginRecovery() error { return d.remark(func(m *mark) { m.left = true }) }

// allOpened notes that no log is left that nobody has looked at.
func (d *Dir) allOpened() {
	if err := d.remark(func(m *mark) { m.left = false }); err != nil {
		d.logger.Warn("that all logs are open could not be noted, the next start may take longer", "path", d.root, "error", err)
	}
}
