package external_test

import "testing"

func FuzzExternal(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }
