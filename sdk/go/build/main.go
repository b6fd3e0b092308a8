// Builds the plugin in the current folder: `go run {sdk}/go/build/main.go name.wasm`. It is `go build`
// for WASI preview 1 without a main function that runs; a plugin.toml cannot set variables.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	command := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w", "-o", os.Args[1], ".")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
