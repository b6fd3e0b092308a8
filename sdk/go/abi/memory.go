// Package abi lays values out as the component model passes them to 32-bit Wasm. Plugins need it not;
// they use the package of their kind: transform, loss or sampler.
package abi

import "unsafe"

// What the host passes, and what it reads afterwards, must stay where it is until the next call
// begins: it is held here, away from the garbage collector, which does not move what it keeps.
var (
	held  []any
	ended bool
)

var nothing [16]byte

// Begin drops what the last call held: its results have been read when anything new is asked for.
func Begin() {
	if ended {
		ended = false
		clear(held)
		held = held[:0]
	}
}

// End marks the results as given out.
func End() { ended = true }

//go:wasmexport cabi_realloc
func realloc(old, oldBytes, alignment, bytes uint32) uint32 {
	Begin()
	address := Allocate(bytes)
	if oldBytes > 0 {
		copy(At[byte](address, bytes), At[byte](old, oldBytes))
	}
	return address
}

// Allocate gives memory for this call, aligned for any value.
func Allocate(bytes uint32) uint32 {
	if bytes == 0 {
		return uint32(uintptr(unsafe.Pointer(&nothing)))
	}
	words := make([]uint64, (bytes+7)/8)
	held = append(held, words)
	return uint32(uintptr(unsafe.Pointer(&words[0])))
}

// At is the list of values that begins at an address.
func At[T any](address, length uint32) []T {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(address))), length)
}

// List is a list as the component model passes it.
type List struct{ Address, Length uint32 }

// ListOf holds values for the host to read.
func ListOf[T any](values []T) List {
	if len(values) == 0 {
		return List{uint32(uintptr(unsafe.Pointer(&nothing))), 0}
	}
	held = append(held, values)
	return List{uint32(uintptr(unsafe.Pointer(&values[0]))), uint32(len(values))}
}

// TextOf holds a text for the host to read.
func TextOf(text string) List { return ListOf([]byte(text)) }

// Text copies a text that the host passed.
func (l List) Text() string { return string(At[byte](l.Address, l.Length)) }

// TextsOf holds texts for the host to read.
func TextsOf(texts []string) List {
	lists := make([]List, len(texts))
	for i, text := range texts {
		lists[i] = TextOf(text)
	}
	return ListOf(lists)
}

// Result lies at the address that a call gives back.
type Result struct {
	Failed uint32
	Value  [4]uint32
}

func give(result *Result) uint32 {
	held = append(held, result)
	End()
	return uint32(uintptr(unsafe.Pointer(result)))
}

// Give is a successful result.
func Give(value ...uint32) uint32 {
	result := &Result{}
	copy(result.Value[:], value)
	return give(result)
}
