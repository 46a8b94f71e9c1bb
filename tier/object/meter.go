package object

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metered wraps s so that every operation is counted in reg by kind and result, with bytes and latency: what a
// bill is made of. A List counts each call, not each page. kind names the store ("s3", "minio", "dir"). With
// reg nil s itself is returned. Several stores may be metered in one registry.
//
//	firn_object_operations_total{store,op,result}   result: ok, not_exist, exists, precondition, throttled,
//	                                                denied, unavailable, canceled, error
//	firn_object_bytes_total{store,direction}        direction: sent, received
//	firn_object_operation_seconds{store,op}         a Get until its body is closed
//	firn_object_deleted_keys_total{store}
func Metered(s Store, kind string, reg prometheus.Registerer) Store {
	if reg == nil {
		return s
	}
	label := []string{"store"}
	m := &metered{s: s,
		operations: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_object_operations_total",
			Help: "Calls to the object store by operation and result."}, append(label, "op", "result"))).MustCurryWith(prometheus.Labels{"store": kind}),
		bytes: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_object_bytes_total",
			Help: "Object bytes sent to and received from the object store."}, append(label, "direction"))).MustCurryWith(prometheus.Labels{"store": kind}),
		deleted: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_object_deleted_keys_total",
			Help: "Keys that the object store was asked to delete and did."}, label)).WithLabelValues(kind),
	}
	m.seconds = register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "firn_object_operation_seconds",
		Help:    "Duration of calls to the object store, bodies included.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13)}, append(label, "op"))).MustCurryWith(prometheus.Labels{"store": kind})
	return m
}

// register gives the collector that reg already has under this name, or registers c.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}

type metered struct {
	s          Store
	operations *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	seconds    prometheus.ObserverVec
	deleted    prometheus.Counter
}

// Result is the word by which an operation's outcome is counted.
func Result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotExist):
		return "not_exist"
	case errors.Is(err, ErrExists):
		return "exists"
	case errors.Is(err, ErrPrecondition):
		return "precondition"
	case errors.Is(err, ErrThrottled):
		return "throttled"
	case errors.Is(err, ErrDenied), errors.Is(err, ErrNoBucket):
		return "denied"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return "unavailable"
	}
	return "error"
}

func (m *metered) done(op string, start time.Time, err error) {
	m.operations.WithLabelValues(op, Result(err)).Inc()
	m.seconds.WithLabelValues(op).Observe(time.Since(start).Seconds())
}

func (m *metered) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Info, error) {
	start := time.Now()
	info, err := m.s.Put(ctx, key, body, size, o)
	m.done("put", start, err)
	if err == nil {
		m.bytes.WithLabelValues("sent").Add(float64(size))
	}
	return info, err
}

func (m *metered) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	start := time.Now()
	body, err := m.s.Get(ctx, key, off, length)
	if err != nil {
		m.done("get", start, err)
		return nil, err
	}
	return &meteredBody{ReadCloser: body, m: m, start: start}, nil
}

// meteredBody counts a Get when its body is closed: a body that broke midway is not an ok.
type meteredBody struct {
	io.ReadCloser
	m     *metered
	start time.Time
	n     int64
	err   error
	ended bool
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (b *meteredBody) Close() error {
	err := b.ReadCloser.Close()
	if !b.ended {
		b.ended = true
		b.m.bytes.WithLabelValues("received").Add(float64(b.n))
		b.m.done("get", b.start, errors.Join(b.err, err))
	}
	return err
}

func (m *metered) Head(ctx context.Context, key string) (Info, error) {
	start := time.Now()
	info, err := m.s.Head(ctx, key)
	m.done("head", start, err)
	return info, err
}

func (m *metered) List(ctx context.Context, prefix, after string, fn func(Info) error) error {
	start := time.Now()
	stopped := false // fn's error is not the store's
	err := m.s.List(ctx, prefix, after, func(i Info) error {
		err := fn(i)
		stopped = err != nil
		return err
	})
	counted := err
	if stopped {
		counted = nil
	}
	m.done("list", start, counted)
	return err
}

func (m *metered) Delete(ctx context.Context, keys []string) error {
	start := time.Now()
	err := m.s.Delete(ctx, keys)
	m.done("delete", start, err)
	var some *DeleteError
	switch {
	case err == nil:
		m.deleted.Add(float64(len(keys)))
	case errors.As(err, &some):
		m.deleted.Add(float64(max(0, len(keys)-len(some.Failed))))
	}
	return err
}

func (m *metered) Now(ctx context.Context) (time.Time, error) {
	start := time.Now()
	now, err := m.s.Now(ctx)
	m.done("now", start, err)
	return now, err
}

func (m *metered) URL() string { return m.s.URL() }
