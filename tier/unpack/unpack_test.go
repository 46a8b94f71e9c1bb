package unpack

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/firnlog/firn/tier/record"
)

// I-32: no more than AtOnce batches are decompressed at once, and what waits goes on.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		g := New(Options{AtOnce: 2, Registerer: reg})
		var mu sync.Mutex
		running, most, done := 0, 0, 0
		leave := make(chan struct{})
		for range 5 {
			go func() {
				_ = g.Do(record.Zstd, func(int) error { // fn's own error, nil
					mu.Lock()
					running++
					most = max(most, running)
					mu.Unlock()
					<-leave
					mu.Lock()
					running--
					done++
					mu.Unlock()
					return nil
				})
			}()
		}
		synctest.Wait()
		if len(g.slots) != 2 || count(t, g.waits) != 3 {
			t.Errorf("%d run, %v wait", len(g.slots), count(t, g.waits))
		}
		if err := g.Do(record.None, func(int) error { return nil }); err != nil { // there is nothing to decompress
			t.Error(err)
		}
		close(leave)
		synctest.Wait()
		if most != 2 || done != 5 {
			t.Errorf("%d at once, %d done", most, done)
		}
		if _, err := reg.Gather(); err != nil {
			t.Error(err)
		}
	})
}

// I-32: the size is what was set, a refusal is counted, and a lower limit does not hide what is stored.
func TestMax(t *testing.T) {
	g := New(Options{})
	if g.Max() != record.DefaultMaxDecoded || (*Gate)(nil).Max() != record.DefaultMaxDecoded {
		t.Error("the default is another")
	}
	g.SetMax(1000)
	src := make([]byte, 1001)
	bomb, err := record.Compress(nil, src, record.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	grow := func(most int) error {
		_, err := record.Decompress(nil, bomb, record.Gzip, most)
		return err
	}
	if err := g.Do(record.Gzip, grow); !errors.Is(err, record.ErrTooLarge) || count(t, g.refused) != 1 {
		t.Errorf("%v, %v refused", err, count(t, g.refused))
	}
	if err := g.DoStored(record.Gzip, grow); err != nil {
		t.Errorf("stored: %v", err)
	}
	if g.MaxCleaned() != record.DefaultMaxDecoded {
		t.Errorf("cleaned: %d", g.MaxCleaned())
	}
	g.SetMax(1 << 30)
	if g.MaxCleaned() != 1<<30 {
		t.Errorf("cleaned: %d", g.MaxCleaned())
	}
	if err := (*Gate)(nil).Do(record.Gzip, grow); err != nil {
		t.Errorf("without a gate: %v", err)
	}
}

func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var d dto.Metric
	if err := c.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue()
}
