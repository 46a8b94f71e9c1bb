package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

// store is the bucket, by the client that firn's minio store uses.
type store struct {
	client *miniogo.Core
	bucket string
	zstd   *zstd.Decoder
}

func openStore(o readerOptions) (*store, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers))
	if err != nil {
		return nil, err
	}
	client, err := miniogo.NewCore(o.Endpoint, &miniogo.Options{
		Creds: credentials.NewFileAWSCredentials(o.Credentials, ""), Region: "us-east-1", BucketLookup: miniogo.BucketLookupPath,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 2 * workers, DisableCompression: true,
			ReadBufferSize: 64 << 10,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", o.Endpoint, err)
	}
	return &store{client: client, bucket: o.Bucket, zstd: z}, nil
}

// segments lists the bucket and reads the index of every segment in it: by topic and partition, in order.
func (s *store) segments(ctx context.Context) (map[string]map[int32][]*object, error) {
	out := make(map[string]map[int32][]*object)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for info := range s.client.Client.ListObjects(ctx, s.bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			return nil, errors.Join(fmt.Errorf("list the bucket: %w", info.Err), g.Wait())
		}
		g.Go(func() error {
			o, err := s.index(ctx, info.Key, info.Size)
			if errors.Is(err, errSegment) || gone(err) {
				return nil // a marker, a fold, another firn's; or deleted since it was listed, for a broker lives beside this
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if out[o.topic] == nil {
				out[o.topic] = make(map[int32][]*object)
			}
			out[o.topic][o.partition] = append(out[o.topic][o.partition], o)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, partitions := range out {
		for _, list := range partitions {
			if err := byBase(list); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func gone(err error) bool {
	var r miniogo.ErrorResponse
	return errors.As(err, &r) && r.Code == miniogo.NoSuchKey
}

// tailBytes hold the index of nearly every segment.
const tailBytes = 32 << 10

func (s *store) index(ctx context.Context, key string, size int64) (*object, error) {
	for want := int64(tailBytes); ; {
		want = min(want, size)
		tail := make([]byte, want)
		if err := s.read(ctx, key, size-want, tail); err != nil {
			return nil, err
		}
		need, err := indexBytes(tail, size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if need <= want {
			return parseIndex(key, tail[want-need:])
		}
		want = need
	}
}

func (s *store) read(ctx context.Context, key string, at int64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	body, err := s.get(ctx, key, at, int64(len(b)))
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.ReadFull(body, b)
	return err
}

func (s *store) get(ctx context.Context, key string, at, n int64) (io.ReadCloser, error) {
	var o miniogo.GetObjectOptions
	if err := o.SetRange(at, at+n-1); err != nil {
		return nil, err
	}
	body, _, _, err := s.client.GetObject(ctx, s.bucket, key, o)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return body, nil
}

// pieceBytes of a raw chunk are read, checked and written at once: few enough to stay in the processor's cache.
const pieceBytes = 256 << 10

// buffers are what a worker needs.
type buffers struct{ piece, stored, raw []byte }

// chunks fetches chunks [from, to) with one GET into their places in f and calls done for each as soon as it is there and
// right. It gives the first chunk that is not.
func (s *store) chunks(ctx context.Context, o *object, f *os.File, from, to int, b *buffers, done func(c int)) (int, error) {
	first, last := o.chunks[from], o.chunks[to-1]
	body, err := s.get(ctx, o.key, first.position, last.position+int64(last.length)-first.position)
	if err != nil {
		return from, err
	}
	defer body.Close()
	for c := from; c < to; c++ {
		var err error
		if o.chunks[c].zstd {
			err = s.unpack(body, &o.chunks[c], f, b)
		} else {
			err = copyChunk(body, &o.chunks[c], f, b)
		}
		if err != nil {
			return c, fmt.Errorf("chunk %d of %s: %w", c, o.key, err)
		}
		done(c)
	}
	return to, nil
}

var errChecksum = errors.New("its CRC-32C is wrong")

// copyChunk writes a raw chunk piece by piece; nobody reads it before its checksum was found right.
func copyChunk(body io.Reader, c *chunk, f *os.File, b *buffers) error {
	crc := uint32(0)
	for at := 0; at < c.length; {
		piece := b.piece[:min(len(b.piece), c.length-at)]
		if _, err := io.ReadFull(body, piece); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, piece)
		if _, err := f.WriteAt(piece, c.at+int64(at)); err != nil {
			return err
		}
		at += len(piece)
	}
	if crc != c.crc {
		return errChecksum
	}
	return nil
}

func (s *store) unpack(body io.Reader, c *chunk, f *os.File, b *buffers) error {
	if cap(b.stored) < c.length {
		b.stored = make([]byte, c.length)
	}
	b.stored = b.stored[:c.length]
	if _, err := io.ReadFull(body, b.stored); err != nil {
		return err
	}
	if crc32.Checksum(b.stored, castagnoli) != c.crc {
		return errChecksum
	}
	var err error
	if b.raw, err = s.zstd.DecodeAll(b.stored, b.raw[:0]); err != nil {
		return err
	}
	if len(b.raw) != c.raw {
		return fmt.Errorf("it decompresses to %d bytes, not %d", len(b.raw), c.raw)
	}
	_, err = f.WriteAt(b.raw, c.at)
	return err
}
