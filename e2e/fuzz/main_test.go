package main

import (
	"slices"
	"testing"
)

func TestListFindsTargets(t *testing.T) {
	targets, err := list([]string{"../../broker/wire"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FuzzFrame", "FuzzRequestDecode", "FuzzProduce", "FuzzFetch"} {
		if !slices.ContainsFunc(targets, func(g target) bool { return g.name == want && g.dir != "" && g.pkg != "" }) {
			t.Errorf("%s is not in %+v", want, targets)
		}
	}
}

// A package's tests may be of a package of their own.
func TestListFindsExternalTargets(t *testing.T) {
	targets, err := list([]string{"./testdata/external"})
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 || targets[0].name != "FuzzExternal" {
		t.Errorf("found %+v", targets)
	}
}

func TestProgress(t *testing.T) {
	out := "fuzz: elapsed: 57s, execs: 100 (2/sec), new interesting: 1 (total: 2)\nfuzz: elapsed: 1m0s, execs: 120 (2/sec), new interesting: 3 (total: 4)\nPASS\n"
	if got := progress(out); got != "execs: 120 (2/sec), new interesting: 3 (total: 4)" {
		t.Error(got)
	}
	if got := progress("PASS\n"); got != "no progress shown" {
		t.Error(got)
	}
}
