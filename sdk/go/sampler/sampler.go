// Package sampler makes a Go type a rectool plugin that draws items a row did not choose.
package sampler

import "rectool/plugin/abi"

// The types that a sampler works with.
type (
	Description = abi.Description
	Parameter   = abi.Parameter
	Parameters  = abi.Parameters
)

// Items is what is known of the items, one entry per item. The slices belong to the call.
type Items struct {
	IDs              []int64 // ascending
	Counts, LastRows []uint64
	Scores           []float32 // nil where the recipe names no score column
}

// Sampler draws items. An error refuses the configuration or the batch.
type Sampler interface {
	About() Description
	// Configure is called once: copy what Sample needs of the items.
	Configure(parameters Parameters, items Items) error
	// Sample is called once per batch: it fills in count ids and log-probabilities per positive.
	// Random numbers come from the seed alone.
	Sample(positives []int64, count int, seed uint64, ids []int64, logProbabilities []float32) error
}

// Random is a stream that depends on its seed alone: SplitMix64.
type Random uint64

// Next is 64 random bits.
func (r *Random) Next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Unit is 0 <= x < 1.
func (r *Random) Unit() float64 { return float64(r.Next()>>11) * 0x1p-53 }

var plugin Sampler

// Register is called from an init function of package main.
func Register(sampler Sampler) { plugin = sampler }

//go:wasmexport rectool:plugin/about@1.0.0#describe
func describe() uint32 { return abi.Describe(plugin.About()) }

//go:wasmexport rectool:plugin/sampler@1.0.0#configure
func configure(parameters, parametersLength, ids, idsLength, counts, countsLength, lastRows, lastRowsLength, scores, scoresLength uint32) uint32 {
	abi.Begin()
	items := Items{
		abi.At[int64](ids, idsLength), abi.At[uint64](counts, countsLength),
		abi.At[uint64](lastRows, lastRowsLength), abi.At[float32](scores, scoresLength),
	}
	if err := plugin.Configure(abi.ParametersAt(parameters, parametersLength), items); err != nil {
		return abi.Refuse(err)
	}
	return abi.Give()
}

//go:wasmexport rectool:plugin/sampler@1.0.0#sample
func sample(positives, rows, count uint32, seed uint64) uint32 {
	abi.Begin()
	all := int(rows) * int(count)
	ids, logProbabilities := make([]int64, all), make([]float32, all)
	if err := plugin.Sample(abi.At[int64](positives, rows), int(count), seed, ids, logProbabilities); err != nil {
		return abi.Refuse(err)
	}
	first, second := abi.ListOf(ids), abi.ListOf(logProbabilities)
	return abi.Give(first.Address, first.Length, second.Address, second.Length)
}
