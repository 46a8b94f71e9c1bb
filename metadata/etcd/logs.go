package etcd

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logs passes etcd's messages on to slog. Warnings and worse only, and warnings only between start and stop:
// etcd warns of things at both ends that are as they should be here.
type logs struct {
	to     *slog.Logger
	ready  *atomic.Bool
	fields []zapcore.Field
}

func newLogs(to *slog.Logger) (*zap.Logger, *logs) {
	l := &logs{to: to, ready: new(atomic.Bool)}
	return zap.New(l), l
}

// earlyNoise are complaints that a new member may make before its first snapshot of the raft term is in its database; it
// finds the version at its next look.
var earlyNoise = map[string]bool{
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
}

// Enabled implements zapcore.Core.
func (l *logs) Enabled(lv zapcore.Level) bool { return lv >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (l *logs) With(f []zapcore.Field) zapcore.Core {
	n := *l
	n.fields = append(n.fields[:len(n.fields):len(n.fields)], f...)
	return &n
}

// Check implements zapcore.Core.
func (l *logs) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return ce.AddCore(e, l)
	}
	return ce
}

// Write implements zapcore.Core.
func (l *logs) Write(e zapcore.Entry, fields []zapcore.Field) error {
	lv := slog.LevelDebug
	switch {
	case e.Level >= zapcore.DPanicLevel:
		lv = slog.LevelError // zap ends the process after this message
	case earlyNoise[e.Message]: // told at debug level only
	case l.ready.Load() && e.Level >= zapcore.ErrorLevel:
		lv = slog.LevelError
	case l.ready.Load():
		lv = slog.LevelWarn
	}
	if !l.to.Enabled(context.Background(), lv) {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range l.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, k, v)
	}
	l.to.Log(context.Background(), lv, e.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (l *logs) Sync() error { return nil }
