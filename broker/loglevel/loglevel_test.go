package loglevel

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLevels(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}), slog.LevelWarn)
	part := l.Logger("broker.partition")
	with := part.With("partition", 3).WithGroup("g") // made before the level changes
	require.Equal(t, []string{"root", "broker.partition"}, l.Names())
	lines := func() int { n := strings.Count(out.String(), "\n"); out.Reset(); return n }

	part.Info("no")
	require.Zero(t, lines())
	part.Warn("yes")
	require.Equal(t, 1, lines(), "the level is decided here, not by the handler below")
	require.NoError(t, l.Set("broker.partition", "DEBUG"))
	part.Debug("yes")
	with.Debug("yes")
	l.Logger("broker.partition").Debug("yes")
	require.Equal(t, 3, lines())
	l.Logger("broker.api").Info("no")
	l.Logger(Root).Info("no")
	require.Zero(t, lines())
	level, set, known := l.Level("broker.partition")
	require.Equal(t, []any{"DEBUG", true, true}, []any{level, set, known})
	level, set, known = l.Level("broker.api")
	require.Equal(t, []any{"WARN", false, true}, []any{level, set, known})

	require.NoError(t, l.Set(Root, "TRACE"))
	level, set, known = l.Level(Root)
	require.Equal(t, []any{"TRACE", true, true}, []any{level, set, known})
	l.Logger("broker.api").Log(context.Background(), slog.LevelDebug-4, "yes")
	require.Equal(t, 1, lines())
	require.NoError(t, l.Set("broker.partition", "FATAL"))
	part.Error("no")
	require.Zero(t, lines())
	require.NoError(t, l.Unset("broker.partition"))
	part.Debug("yes")
	require.Equal(t, 1, lines())

	require.ErrorIs(t, l.Set("nobody", "INFO"), ErrUnknownLogger)
	require.ErrorIs(t, l.Unset("nobody"), ErrUnknownLogger)
	require.ErrorIs(t, l.Unset(Root), ErrRoot)
	for _, bad := range []string{"", "info", "OFF", "7"} {
		require.ErrorIs(t, l.Set("broker.partition", bad), ErrUnknownLevel)
	}
	_, _, known = l.Level("nobody")
	require.False(t, known)
}

// Levels change while others log.
func TestConcurrent(t *testing.T) {
	l := New(slog.DiscardHandler, slog.LevelInfo)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				l.Logger("a").Info("x")
				_ = l.Set("a", "ERROR")
				_ = l.Unset("a")
				l.Names()
			}
		})
	}
	wg.Wait()
	level, set, _ := l.Level("a")
	require.Equal(t, "INFO", level)
	require.False(t, set)
}
