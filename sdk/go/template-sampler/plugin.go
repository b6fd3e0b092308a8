// {{name}}: draws each item as often as a power of its count says.
package main

import (
	"errors"
	"math"
	"sort"

	"rectool/plugin/abi"
	"rectool/plugin/sampler"
)

type plugin struct {
	ids  []int64
	sums []float64 // of the weights of all items up to each
}

func (p *plugin) About() sampler.Description {
	return sampler.Description{
		Name:    "{{name}}",
		Version: "0.1.0",
		Summary: "draws items by a power of their counts",
		Parameters: []sampler.Parameter{
			{
				Name: "power", Type: abi.Number, Default: 0.75, Min: abi.Bound(0), Max: abi.Bound(1),
				Help: "0: every item alike; 1: as often as in the training data",
			},
		},
	}
}

// Called once: the items belong to the call, so what Sample needs is copied.
func (p *plugin) Configure(parameters sampler.Parameters, items sampler.Items) error {
	if len(items.IDs) == 0 {
		return errors.New("there are no items to draw from")
	}
	power := parameters.Number("power")
	p.ids = append([]int64{}, items.IDs...)
	p.sums = make([]float64, len(p.ids))
	sum := 0.0
	for i, count := range items.Counts {
		sum += math.Pow(float64(count), power)
		p.sums[i] = sum
	}
	return nil
}

// Called once per batch. Drawn with replacement; the positive itself may be drawn.
func (p *plugin) Sample(positives []int64, count int, seed uint64, ids []int64, logProbabilities []float32) error {
	random := sampler.Random(seed)
	last := len(p.sums) - 1
	total := p.sums[last]
	for i := range ids {
		point := random.Unit() * total
		item := sort.Search(last, func(j int) bool { return p.sums[j] > point })
		weight := p.sums[item]
		if item > 0 {
			weight -= p.sums[item-1]
		}
		ids[i] = p.ids[item]
		logProbabilities[i] = float32(math.Log(weight / total))
	}
	return nil
}

func init() { sampler.Register(&plugin{}) }

func main() {}
