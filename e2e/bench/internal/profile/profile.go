// Package profile turns the samples of `perf` into two small tables: the functions that the processor was in, and the
// kinds of work that they belong to. It is pure.
package profile

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Profile counts samples. The zero value has none.
type Profile struct {
	Samples int
	self    map[string]int // by the function that ran
	groups  map[string]int
}

// Enough is how many samples it takes for shares to tell anything.
const Enough = 500

// Share is a part of all samples.
type Share struct {
	Name    string  `json:"name"`
	Percent float64 `json:"percent"`
}

// Rest is the group of what no rule knows.
const Rest = "rest"

// rules say which kind of work a function is. Of a sample the innermost function decides that some rule knows, and of the
// rules the first that knows it; a rule without a group knows helpers, for which their callers speak.
var rules = []struct {
	group string
	names *regexp.Regexp
}{
	{"", regexp.MustCompile(`^runtime\.(mem(move|clr|equal)|goexit|main$|map|growslice|duff)|^internal/runtime/maps|^aeshash`)},
	{"CRC", regexp.MustCompile(`crc32`)},
	{"compression", regexp.MustCompile(`^compress/|/compress/|/snappy|/lz4`)},
	{"copies and pages", regexp.MustCompile(`^_?_?copy_(user|to|from|page|folio|mc)|_copy_(to|from)_|^rep_(movs|stos)|^copyin|^copyout|^clear_(page|user|huge)|page_fault|^handle_mm_fault|^do_anonymous|` +
		`^_*(alloc|free)_(frozen_|unref_)?(page|folio)|^get_page_from|^rmqueue|^prep_new_page|^filemap_alloc_folio|^folio_alloc|^release_pages|^folio_batch_move|^folio_add_lru|^lru_add|mem_cgroup_charge|^folios_put`)},
	{"sendfile and splice", regexp.MustCompile(`splice|^do_sendfile|sys_sendfile|^pipe_`)},
	{"sockets and TCP", regexp.MustCompile(`^_*(tcp|ip|inet6?|sock|sk|skb|net|netif|dev|napi|loopback|nf)_|^_?_?x64_sys_(send|recv|accept|connect|shutdown|setsockopt)|^__sys_(send|recv|accept|connect)|^(release|lock)_sock|^(alloc|kfree|consume)_skb|^process_backlog`)},
	{"file system and block layer", regexp.MustCompile(`^_*(ext4|jbd2|xfs|btrfs|iomap|blk|bio|submit_bio|virtblk|virtqueue|nvme|scsi|filemap|folio|generic|block|mpage|writeback|wb|page_cache|balance_dirty|write_cache)_|^(do_writepages|mark_buffer_dirty|create_empty_buffers)|^vfs_|^do_(fsync|sys_open|unlink|filp)|^submit_bio|^__x64_sys_(fdatasync|fsync|sync|open|unlink|fallocate|pwrite|pread|ftruncate)|^rw_verify_area|^ksys_p(read|write)`)},
	{"Go runtime", regexp.MustCompile(`^runtime\.|^runtime/internal|^internal/runtime/(atomic|gc|exithook)|^gcWriteBarrier|^gogo|^(do_)?futex|sys_futex|^ep_poll$|^(do_)?epoll_|^do_epoll|sys_epoll|sys_(sched|nanosleep|clock|madvise|mmap|munmap|tgkill|rt_sig)`)},
	{Rest, regexp.MustCompile(`^do_syscall_|^entry_|^asm_|Syscall6|^syscall_`)}, // the kernel on behalf of none of these
	{"firn and what it calls", regexp.MustCompile(`^github\.com/firnlog/firn/|^main\.`)},
}

// groupOf is the group of a stack, innermost function first.
func groupOf(stack []string) string {
	for _, name := range stack {
		for _, r := range rules {
			if r.names.MatchString(name) {
				if r.group == "" {
					break // ask the caller
				}
				return r.group
			}
		}
	}
	return Rest
}

// Add takes over what `perf script -F ip,sym` prints: for each sample a line a function, innermost first, each with its
// address before it, and an empty line.
func (p *Profile) Add(script io.Reader) error {
	if p.self == nil {
		p.self, p.groups = map[string]int{}, map[string]int{}
	}
	var stack []string
	end := func() {
		if len(stack) > 0 {
			p.Samples++
			p.self[stack[0]]++
			p.groups[groupOf(stack)]++
		}
		stack = stack[:0]
	}
	lines := bufio.NewScanner(script)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			end()
			continue
		}
		_, name, ok := strings.Cut(line, " ")
		if !ok {
			name = "[unknown]"
		}
		stack = append(stack, name)
	}
	end()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read what perf printed: %w", err)
	}
	return nil
}

// Top are the functions with the most samples of their own.
func (p *Profile) Top(n int) []Share {
	all := p.shares(p.self)
	return all[:min(n, len(all))]
}

// Groups are the kinds of work, the largest first.
func (p *Profile) Groups() []Share { return p.shares(p.groups) }

func (p *Profile) shares(of map[string]int) []Share {
	var all []Share
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, Share{Name: name, Percent: 100 * float64(of[name]) / float64(p.Samples)})
	}
	slices.SortStableFunc(all, func(a, b Share) int { return cmp.Compare(b.Percent, a.Percent) })
	return all
}

// Text is the profile to read: the groups, and the top functions. Of too few samples it says that alone.
func (p *Profile) Text(top int) string {
	if p.Samples < Enough {
		return fmt.Sprintf("too few samples of the process's CPU time: %d\n", p.Samples)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%d samples of the process's CPU time\n\n", p.Samples)
	for _, g := range p.Groups() {
		fmt.Fprintf(&s, "%5.1f%%  %s\n", g.Percent, g.Name)
	}
	fmt.Fprintf(&s, "\nBy function, without what it calls:\n\n")
	for _, f := range p.Top(top) {
		fmt.Fprintf(&s, "%5.1f%%  %s\n", f.Percent, f.Name)
	}
	return s.String()
}
