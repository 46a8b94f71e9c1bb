package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestRepeat plays alternations that come with the stolen time listed: the first ones are those asked for, the others
// are taken as repetitions need them.
func TestRepeat(t *testing.T) {
	for _, c := range []struct {
		name     string
		asked    int
		stolen   []float64
		kept     []float64
		repeated int
	}{
		{"a quiet machine", 4, []float64{0, 0.01, 0.05, 0.02}, []float64{0, 0.01, 0.05, 0.02}, 0},
		{"one is repeated", 4, []float64{0, 0.2, 0.01, 0.02, 0.03}, []float64{0, 0.03, 0.01, 0.02}, 1},
		{"the worst first", 4, []float64{0.1, 0.2, 0.3, 0, 0.01, 0.02}, []float64{0.1, 0.02, 0.01, 0}, 2},
		{"a repetition that is worse is dropped", 4, []float64{0, 0.1, 0, 0, 0.4, 0.03}, []float64{0, 0.03, 0, 0}, 2},
		{"a repetition that is better but not good", 4, []float64{0, 0.4, 0, 0, 0.3, 0.2}, []float64{0, 0.2, 0, 0}, 2},
		{"the tries are used up", 4, []float64{0.4, 0.3, 0.2, 0.1, 0.15, 0.35}, []float64{0.15, 0.3, 0.2, 0.1}, 2},
		{"rounded down", 3, []float64{0.4, 0.3, 0.2, 0.35}, []float64{0.35, 0.3, 0.2}, 1},
		{"one alternation has no tries", 1, []float64{0.4}, []float64{0.4}, 0},
		{"nothing", 0, nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, coming := append([]float64(nil), c.stolen[:c.asked]...), c.stolen[c.asked:]
			repeated := 0
			for {
				i, again := Repeat(kept, repeated)
				if !again {
					break
				}
				repeated++
				if Better(coming[0], kept[i]) {
					kept[i] = coming[0]
				}
				coming = coming[1:]
			}
			assert.Equal(t, c.kept, kept)
			assert.Equal(t, c.repeated, repeated)
			assert.Empty(t, coming, "each is needed")
		})
	}
}
