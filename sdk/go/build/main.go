// Builds the plugin in the current folder: `go run {sdk}/go/build/main.go {sdk} name.wasm`.
//
// The plugin's go.mod says that it needs rectool/plugin; this adds where that is, in a copy of the
// file, so that the plugin's folder holds no paths of one machine.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if err := build(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(sdk, output string) error {
	folder, err := os.MkdirTemp("", "rectool-go-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	module, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	place, err := filepath.Abs(filepath.Join(sdk, "go"))
	if err != nil {
		return err
	}
	module = fmt.Appendf(module, "\nreplace rectool/plugin => %q\n", filepath.ToSlash(place))
	modfile := filepath.Join(folder, "go.mod")
	if err := os.WriteFile(modfile, module, 0o644); err != nil {
		return err
	}
	if sums, err := os.ReadFile("go.sum"); err == nil {
		if err := os.WriteFile(filepath.Join(folder, "go.sum"), sums, 0o644); err != nil {
			return err
		}
	}
	command := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w", "-modfile="+modfile, "-o", output, ".")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}
