package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"strings"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/open"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

type segmentCmd struct {
	Dump segmentDumpCmd `cmd:"" help:"Print what a segment holds: a local .log file, or an object of the archive."`
}

type segmentDumpCmd struct {
	From string `arg:"" name:"file-or-url" help:"A file, or the URL of an object: dir:///path/of/object, s3://bucket/key?region=..., minio://host:port/bucket/key."`
	Deep bool   `help:"Print every record, not only the batches."`
}

func (s *segmentDumpCmd) Run() error {
	if !strings.Contains(s.From, "://") {
		return s.file()
	}
	ctx, cancel := interruptible()
	defer cancel()
	return s.object(ctx)
}

func (s *segmentDumpCmd) file() error {
	f, err := os.Open(s.From)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, min(info.Size(), segment.HeaderSize))
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	if !segment.Sniff(head) {
		return record.DumpLog(os.Stdout, f, info.Size(), s.Deep)
	}
	return segment.Dump(os.Stdout, f, info.Size(), s.Deep)
}

func (s *segmentDumpCmd) object(ctx context.Context) error {
	dir, name := splitURL(s.From)
	if name == "" {
		return fmt.Errorf("%s names no object: the last part of the path must be one", s.From)
	}
	store, err := open.Open(ctx, dir, open.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	info, err := store.Head(ctx, name)
	if err != nil {
		return err
	}
	return segment.Dump(os.Stdout, objectReader{ctx, store, name}, info.Size, s.Deep)
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
