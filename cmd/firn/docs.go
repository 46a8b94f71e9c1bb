package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/firnlog/firn/cmd/firn/reference"
)

// docsCmd writes what package reference makes into a working copy of the repository.
type docsCmd struct {
	Root string `help:"The working copy." default:"." type:"existingdir"`
}

func (d *docsCmd) Run() error {
	name := filepath.Join(d.Root, "README.md")
	readme, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("renew the documentation: %w", err)
	}
	text, err := reference.Readme(string(readme))
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return fmt.Errorf("renew the documentation: %w", err)
	}
	name = filepath.Join(d.Root, reference.ConfigurationFile)
	if err := os.WriteFile(name, []byte(reference.Configuration()), 0o644); err != nil {
		return fmt.Errorf("renew the documentation: %w", err)
	}
	return nil
}
