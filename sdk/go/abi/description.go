package abi

import (
	"fmt"
	"math"
)

// Description is what a plugin says about itself.
type Description struct {
	Name       string // lower case, words joined by `-`
	Version    string
	Summary    string // what it does, in one line
	Parameters []Parameter
}

// Parameter may be set by a recipe. The host checks type, range and choices.
type Parameter struct {
	Name    string   // lower case, words joined by `_`
	Type    Type     // Boolean .. Texts
	Default any      // bool, int64, float64 or string; without one the recipe must say it
	Min     *float64 // see Bound
	Max     *float64
	Choices []string
	Unit    string
	Help    string // what it does, in one line
}

// Bound is for the Min and Max of a Parameter.
func Bound(x float64) *float64 { return &x }

// Type is the type of a parameter.
type Type uint32

// In the order of the contract.
const (
	Boolean Type = iota
	Integer
	Number
	TextValue
	Booleans
	Integers
	Numbers
	Texts
)

type rawBound struct {
	given uint64
	value float64
}

func bound(x *float64) rawBound {
	if x == nil {
		return rawBound{}
	}
	return rawBound{1, *x}
}

type rawParameter struct {
	name       List
	kind       uint32
	_          uint32
	given      uint64
	defaultTag uint64
	value      uint64
	min, max   rawBound
	choices    List
	unit       List
	help       List
}

func (p Parameter) raw() rawParameter {
	raw := rawParameter{
		name: TextOf(p.Name), kind: uint32(p.Type), min: bound(p.Min), max: bound(p.Max),
		choices: TextsOf(p.Choices), unit: TextOf(p.Unit), help: TextOf(p.Help),
	}
	if p.Default == nil {
		return raw
	}
	raw.given, raw.defaultTag = 1, uint64(p.Type)
	switch value := p.Default.(type) {
	case bool:
		if value {
			raw.value = 1
		}
	case int64:
		raw.value = uint64(value)
	case int:
		raw.value = uint64(value)
	case float64:
		raw.value = math.Float64bits(value)
	case string:
		text := TextOf(value)
		raw.value = uint64(text.Address) | uint64(text.Length)<<32
	default:
		panic(fmt.Sprintf("parameter %s: a default cannot be a %T", p.Name, value))
	}
	return raw
}

// Describe is the result of the export of that name.
func Describe(about Description) uint32 {
	Begin()
	parameters := make([]rawParameter, len(about.Parameters))
	for i, parameter := range about.Parameters {
		parameters[i] = parameter.raw()
	}
	record := []List{TextOf(about.Name), TextOf(about.Version), TextOf(about.Summary), ListOf(parameters)}
	End()
	return ListOf(record).Address
}

type given struct {
	name List
	tag  uint64
	bits uint64
}

func (g given) list() List { return List{uint32(g.bits), uint32(g.bits >> 32)} }

// Parameters are those that the recipe gives, defaults included. Asking for one that is not
// described with this type panics.
type Parameters struct{ given []given }

// ParametersAt are the parameters that the host passed.
func ParametersAt(address, length uint32) Parameters {
	return Parameters{At[given](address, length)}
}

func (p Parameters) find(name string, tag Type) given {
	for _, parameter := range p.given {
		if parameter.name.Text() == name && Type(parameter.tag&0xff) == tag {
			return parameter
		}
	}
	panic("no such parameter of this type is described: " + name)
}

// Boolean is the value of a parameter.
func (p Parameters) Boolean(name string) bool { return p.find(name, Boolean).bits&0xff != 0 }

// Integer is the value of a parameter.
func (p Parameters) Integer(name string) int64 { return int64(p.find(name, Integer).bits) }

// Number is the value of a parameter.
func (p Parameters) Number(name string) float64 {
	return math.Float64frombits(p.find(name, Number).bits)
}

// Text is the value of a parameter.
func (p Parameters) Text(name string) string { return p.find(name, TextValue).list().Text() }

// Booleans is the value of a parameter.
func (p Parameters) Booleans(name string) []bool {
	list := p.find(name, Booleans).list()
	return append([]bool{}, At[bool](list.Address, list.Length)...)
}

// Integers is the value of a parameter.
func (p Parameters) Integers(name string) []int64 {
	list := p.find(name, Integers).list()
	return append([]int64{}, At[int64](list.Address, list.Length)...)
}

// Numbers is the value of a parameter.
func (p Parameters) Numbers(name string) []float64 {
	list := p.find(name, Numbers).list()
	return append([]float64{}, At[float64](list.Address, list.Length)...)
}

// Texts is the value of a parameter.
func (p Parameters) Texts(name string) []string {
	list := p.find(name, Texts).list()
	return TextsAt(list)
}

// TextsAt copies texts that the host passed.
func TextsAt(list List) []string {
	var texts []string
	for _, text := range At[List](list.Address, list.Length) {
		texts = append(texts, text.Text())
	}
	return texts
}
