package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// sourceOptions of newSource.
type sourceOptions struct {
	Addr string // where to listen, host:port
	// Dir is a log folder as Kafka and firn lay it out: <topic>-<partition>/<offset>.log. It is read once; what is
	// written later is not served.
	Dir string
}

// source is the least that could answer Fetch requests from files: where every batch begins is in memory, and an answer
// is its header, one sendfile and three bytes.
type source struct {
	*server
	logs map[string]map[int32][]*logFile // by topic and partition, in order
}

// logFile is one segment.
type logFile struct {
	f       *os.File
	offsets []int64 // base offset of each batch
	ends    []int64 // where each batch ends in the file
	next    int64   // offset after the last one
}

// newSource reads the folder's batch headers and serves.
func newSource(o sourceOptions) (*source, error) {
	s := &source{logs: make(map[string]map[int32][]*logFile)}
	names, err := filepath.Glob(filepath.Join(o.Dir, "*", "*.log"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	for _, name := range names {
		folder := filepath.Base(filepath.Dir(name))
		dash := strings.LastIndexByte(folder, '-')
		partition, err := strconv.ParseInt(folder[dash+1:], 10, 32)
		if dash < 1 || err != nil {
			continue // not a partition's
		}
		l, err := openLog(name)
		if err != nil {
			return nil, errors.Join(err, s.closeFiles())
		}
		if s.logs[folder[:dash]] == nil {
			s.logs[folder[:dash]] = make(map[int32][]*logFile)
		}
		of := s.logs[folder[:dash]]
		of[int32(partition)] = append(of[int32(partition)], l)
	}
	if len(s.logs) == 0 {
		return nil, fmt.Errorf("there is no segment in %s", o.Dir)
	}
	s.server, err = serve(o.Addr, func(c *net.TCPConn) error { return answer(c, s) })
	if err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

// Close ends connections and tells why some had failed.
func (s *source) Close() error {
	return errors.Join(s.close(), s.closeFiles())
}

func (s *source) closeFiles() error {
	var errs []error
	for _, topic := range s.logs {
		for _, list := range topic {
			for _, l := range list {
				errs = append(errs, l.f.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// openLog notes where each batch lies. What follows the last whole batch, such as space that was preallocated, is left.
func openLog(name string) (*logFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f}
	if l.next, err = strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not named as a segment is: %w", name, err), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var h [batchHeader]byte
	for at := int64(0); at+batchHeader <= info.Size(); {
		if _, err := f.ReadAt(h[:], at); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		n := int64(batchSize(h[:]))
		if n < batchHeader || h[16] != 2 || at+n > info.Size() {
			break
		}
		base := int64(binary.BigEndian.Uint64(h[:]))
		at += n
		l.offsets, l.ends = append(l.offsets, base), append(l.ends, at)
		l.next = base + int64(binary.BigEndian.Uint32(h[23:])) + 1
	}
	return l, nil
}

// take implements supply.
func (s *source) take(topic []byte, partition int32, offset, most int64) (region, int64, error) {
	list := s.logs[string(topic)][partition]
	if len(list) == 0 {
		return region{}, 0, errors.New("no such partition")
	}
	high := list[len(list)-1].next
	i := sort.Search(len(list), func(i int) bool { return list[i].next > offset })
	if i == len(list) {
		return region{}, high, nil
	}
	l := list[i]
	first := sort.Search(len(l.offsets), func(i int) bool { return l.offsets[i] > offset })
	if first > 0 {
		first--
	}
	from := int64(0)
	if first > 0 {
		from = l.ends[first-1]
	}
	end := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > from+most })
	end = max(end, first+1)
	return region{f: l.f, at: from, n: l.ends[end-1] - from}, high, nil
}
