package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/open"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

type segmentCmd struct {
	Dump segmentDumpCmd `cmd:"" help:"Print what a segment holds: a local .log file, or an object of the archive." uses:"output"`
}

type segmentDumpCmd struct {
	From string `arg:"" name:"file-or-url" help:"A file, or the URL of an object: dir:///path/of/object, s3://bucket/key?region=..., minio://host:port/bucket/key."`
	Deep bool   `help:"Print every record, not only the batches or chunks, and verify every checksum."`
}

func (segmentDumpCmd) Help() string {
	return `firn segment dump firn-data/log/visits-0/00000000000000000000.log

firn segment dump --deep "minio://127.0.0.1:9000/archive/KEY?secure=false"

Nothing is changed, and the broker may be running. With -o json there is one JSON object a line: segment, chunk, batch, record or fault.`
}

func (s *segmentDumpCmd) Run(c *cli) error {
	if !strings.Contains(s.From, "://") {
		return s.file(c)
	}
	ctx, cancel := interruptible()
	defer cancel()
	return s.object(ctx, c)
}

func (s *segmentDumpCmd) file(c *cli) error {
	f, err := os.Open(s.From)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file %s", s.From)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file: name a .log file, or an object of the archive", s.From)
	}
	return s.dump(c, s.From, f, info.Size())
}

func (s *segmentDumpCmd) object(ctx context.Context, c *cli) error {
	dir, name := splitURL(s.From)
	if name == "" {
		return fmt.Errorf("%s names no object: the last part of the path must be one", s.From)
	}
	store, err := open.Open(ctx, dir, open.Options{Logger: slog.New(slog.DiscardHandler), ReadOnly: true})
	if errors.Is(err, object.ErrNoBucket) {
		return fmt.Errorf("there is no store %s", dir)
	}
	if err != nil {
		return err
	}
	info, err := store.Head(ctx, name)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, object.ErrNotExist):
		return fmt.Errorf("the store %s has no object with the key %s", store.URL(), name)
	case err != nil:
		return fmt.Errorf("look up %s in the store %s: %w", name, store.URL(), err)
	}
	return s.dump(c, s.From, objectReader{ctx, store, name}, info.Size)
}

// dump finds out which of the two formats it is and prints it.
func (s *segmentDumpCmd) dump(c *cli, name string, r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, max(record.HeaderSize, segment.HeaderSize)))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", name, err)
	}
	json := jsonDump{os.Stdout, s.Deep}
	var err error
	switch {
	case segment.Sniff(head) && c.Output == outputJSON:
		err = json.segment(r, size)
	case segment.Sniff(head):
		err = segment.Dump(os.Stdout, r, size, s.Deep)
	case !looksLikeLog(name, head):
		return fmt.Errorf("%s is neither a log (.log) nor an archived segment", name)
	case c.Output == outputJSON:
		err = json.log(r, size)
	default:
		err = record.DumpLog(os.Stdout, r, size, s.Deep)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

var logName = regexp.MustCompile(`^[0-9]{20}\.log$`)

// looksLikeLog reports whether a file is a hot log: by the name that a log's files have, since one may be damaged from
// its first byte or be empty; else by a first header that could be one.
func looksLikeLog(name string, head []byte) bool {
	if logName.MatchString(filepath.Base(name)) {
		return true
	}
	h, err := record.ParseHeader(head)
	return err == nil && h.Magic == record.Magic && h.BaseOffset >= 0 && h.Size() >= record.HeaderSize && h.LastOffsetDelta >= 0
}

// splitURL cuts an object's URL into its store's URL (the query stays with it) and the object's name there.
func splitURL(url string) (dir, name string) {
	url, query, hasQuery := strings.Cut(url, "?")
	dir, name = path.Split(url)
	dir = strings.TrimSuffix(dir, "/")
	if hasQuery {
		dir += "?" + query
	}
	return dir, name
}

// objectReader reads an object at random with one ranged GET a call.
type objectReader struct {
	ctx   context.Context
	store object.Store
	key   string
}

func (o objectReader) ReadAt(p []byte, off int64) (int, error) {
	r, err := o.store.Get(o.ctx, o.key, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
