package archive_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
)

// An object that lost its end is damaged, not a fault of the network that passes.
func TestShortObjectIsDamaged(t *testing.T) {
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	defer store.Close()
	ctx := context.Background()
	_, err = store.Put(ctx, "c/short", strings.NewReader("half"), 4, object.PutOptions{})
	require.NoError(t, err)
	for _, at := range []int64{0, 2, 8} {
		_, err = archive.Index(ctx, store, ledger.Segment{Key: "c/short", Base: 0, Next: 1, Position: at, Length: 8, IndexLength: 8})
		require.ErrorIs(t, err, archive.ErrDamaged)
		require.ErrorContains(t, err, "c/short")
	}
}
