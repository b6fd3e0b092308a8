// {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones.
package main

import (
	"math"

	"rectool/plugin/abi"
	"rectool/plugin/loss"
)

type plugin struct {
	positiveWeight float64
}

func (p *plugin) About() loss.Description {
	return loss.Description{
		Name:    "{{name}}",
		Version: "0.1.0",
		Summary: "binary cross-entropy with a weight for positive rows",
		Parameters: []loss.Parameter{
			{Name: "positive_weight", Type: abi.Number, Default: 1.0, Min: abi.Bound(0), Help: "how much a row with label 1 counts"},
		},
	}
}

// Called once: what a logit stands for, which labels and columns are needed.
func (p *plugin) Configure(parameters loss.Parameters) (loss.Demands, error) {
	p.positiveWeight = parameters.Number("positive_weight")
	return loss.Demands{Prediction: loss.Logit, Labels: loss.Binary}, nil
}

// Called once with the types of the columns that Configure asked for: none here.
func (p *plugin) Bind(columns []loss.ColumnType) error { return nil }

// Called once per batch: the loss of each row, and its derivative by the row's logit.
func (p *plugin) Evaluate(batch loss.Batch, losses, gradients []float32) error {
	for i, logit := range batch.Logits {
		x, weight := float64(logit), 1.0
		if batch.Weights != nil {
			weight = float64(batch.Weights[i])
		}
		positive := weight * p.positiveWeight * float64(batch.Labels[i])
		negative := weight * (1 - float64(batch.Labels[i]))
		e := math.Exp(-math.Abs(x))
		both := math.Log1p(e) // log(1 + exp(x)) is this, and x where x > 0
		chance := 1 / (1 + e)
		if x < 0 {
			chance = e / (1 + e)
		}
		losses[i] = float32(positive*(both+max(-x, 0)) + negative*(both+max(x, 0)))
		gradients[i] = float32((positive+negative)*chance - positive)
	}
	return nil
}

func init() { loss.Register(&plugin{}) }

func main() {}
