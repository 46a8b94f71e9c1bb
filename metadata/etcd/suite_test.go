package etcd

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func embedded(t *testing.T, listen string) *Server {
	t.Helper()
	s, err := Embedded(t.Context(), EmbeddedOptions{Dir: t.TempDir(), Logger: quiet(), Listen: listen})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func store(t *testing.T, cl *Client, prefix string) *Store {
	t.Helper()
	s, err := OpenStore(context.Background(), cl, StoreOptions{Logger: quiet(), Prefix: prefix})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// each test of the suite gets its own cluster by its own key prefix, on one server.
func suite(t *testing.T, connect func() *Client) {
	metatest.Suite(t, func(t *testing.T) (metadata.Store, func() metadata.Store) {
		prefix := "/" + t.Name() + "/"
		return store(t, connect(), prefix), func() metadata.Store { return store(t, connect(), prefix) }
	})
}

func TestEmbedded(t *testing.T) {
	s := embedded(t, "")
	require.Empty(t, s.Endpoint())
	suite(t, s.Client)
}

func TestExternal(t *testing.T) {
	s := embedded(t, "127.0.0.1:0")
	suite(t, func() *Client {
		cl, err := Connect(t.Context(), []string{s.Endpoint()}, ConnectOptions{Logger: quiet()})
		require.NoError(t, err)
		t.Cleanup(func() { cl.Close() }) // a test's client
		return cl
	})
}
