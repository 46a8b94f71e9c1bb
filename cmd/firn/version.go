package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

// version and commit are set by the linker in release builds (see the Makefile); a plain `go build` or
// `go run` falls back on what the toolchain recorded.
var (
	version = ""
	commit  = ""
)

type versionCmd struct{}

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "dev"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (versionCmd) Run(c *cli) error {
	v := buildVersion()
	if c.Output == outputJSON {
		return printJSON(os.Stdout, v)
	}
	_, err := fmt.Printf("firn %s\ncommit %s\n%s\n", v.Version, v.Commit, v.Go)
	return err
}
