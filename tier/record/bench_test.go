package record

import (
	"testing"
)

func BenchmarkCheck(b *testing.B) {
	for name, n := range map[string]int{"1record": 1, "1000records": 1000} {
		batch := sample(None, n)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBatches(b *testing.B) {
	var log []byte
	for len(log) < 1<<20 {
		log = append(log, sample(None, 20)...)
	}
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		it := Batches(log)
		for it.Next() {
		}
		if it.Err() != nil {
			b.Fatal(it.Err())
		}
	}
}

func BenchmarkValidateRecords(b *testing.B) {
	for _, codec := range allCodecs {
		batch := sample(codec, 500)
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(sample(None, 500))))
			b.ReportAllocs()
			for b.Loop() {
				if err := ValidateRecords(batch, DefaultMaxDecoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
