// Package loglevel gives each room of the broker a logger of its own whose level can be changed while it runs: Kafka's
// broker loggers (KIP-412). It owns the levels and nothing else; where lines go is the base handler's matter.
package loglevel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Root is the logger whose level holds for all that have none of their own.
const Root = "root"

// Levels below and above slog's, as Kafka names them.
const (
	levelTrace = slog.LevelDebug - 4
	levelFatal = slog.LevelError + 4
)

// Errors of Set and Unset, wrapped with a sentence.
var (
	ErrUnknownLogger = errors.New("unknown logger")
	ErrUnknownLevel  = errors.New("unknown log level")
	ErrRoot          = errors.New("the root logger always has a level")
)

// LevelNames are the levels that Set takes, least first.
func LevelNames() []string { return []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} }

var byName = map[string]slog.Level{"TRACE": levelTrace, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn,
	"ERROR": slog.LevelError, "FATAL": levelFatal}

// Levels holds the named loggers. All methods may be called concurrently.
type Levels struct {
	base slog.Handler
	root atomic.Int64

	mu    sync.Mutex
	rooms map[string]*room // guarded by mu
}

// room is a named logger's level.
type room struct {
	root *atomic.Int64
	own  atomic.Pointer[slog.Level] // nil: root's
}

func (r *room) level() slog.Level {
	if l := r.own.Load(); l != nil {
		return *l
	}
	return slog.Level(r.root.Load())
}

// New makes Levels without named loggers. What is at or above a logger's level goes to base, which is not asked whether
// it is enabled: the level is decided here.
func New(base slog.Handler, root slog.Level) *Levels {
	l := &Levels{base: base, rooms: map[string]*room{}}
	l.root.Store(int64(root))
	return l
}

// Logger gives the logger of a name such as "broker.partition", making it the first time; that of Root has no name.
func (l *Levels) Logger(name string) *slog.Logger {
	r := &room{root: &l.root}
	if name != Root {
		l.mu.Lock()
		defer l.mu.Unlock()
		if known := l.rooms[name]; known != nil {
			r = known
		}
		l.rooms[name] = r
	}
	return slog.New(handler{r, l.base})
}

// Names lists the loggers: Root first, then by name.
func (l *Levels) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{Root}, slices.Sorted(maps.Keys(l.rooms))...)
}

// Level tells a logger's level, and whether it is its own rather than Root's.
func (l *Levels) Level(name string) (level string, set, known bool) {
	if name == Root {
		return nameOf(slog.Level(l.root.Load())), true, true
	}
	r := l.find(name)
	if r == nil {
		return "", false, false
	}
	return nameOf(r.level()), r.own.Load() != nil, true
}

// Set gives a logger, or Root, a level.
func (l *Levels) Set(name, level string) error {
	v, ok := byName[level]
	if !ok {
		return fmt.Errorf("%w: logger %s cannot have level %q, allowed are %s", ErrUnknownLevel, name, level, strings.Join(LevelNames(), ", "))
	}
	if name == Root {
		l.root.Store(int64(v))
		return nil
	}
	r := l.find(name)
	if r == nil {
		return unknown(name)
	}
	r.own.Store(&v)
	return nil
}

// Unset takes a logger's own level away: Root's holds again.
func (l *Levels) Unset(name string) error {
	if name == Root {
		return fmt.Errorf("%w: set another one instead", ErrRoot)
	}
	r := l.find(name)
	if r == nil {
		return unknown(name)
	}
	r.own.Store(nil)
	return nil
}

func (l *Levels) find(name string) *room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rooms[name]
}

func unknown(name string) error { return fmt.Errorf("%w: %q", ErrUnknownLogger, name) }

// nameOf names a level: the greatest name that is not above it.
func nameOf(level slog.Level) string {
	name := "TRACE"
	for _, n := range LevelNames() {
		if byName[n] <= level {
			name = n
		}
	}
	return name
}

// handler lets through what its room's level allows.
type handler struct {
	room *room
	base slog.Handler
}

// Enabled implements slog.Handler.
func (h handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.room.level() }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error { return h.base.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.room, h.base.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.room, h.base.WithGroup(name)} }
