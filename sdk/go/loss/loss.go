// Package loss makes a Go type a rectool plugin that is an objective of training.
package loss

import "rectool/plugin/abi"

// The types that a loss works with.
type (
	Description = abi.Description
	Parameter   = abi.Parameter
	Parameters  = abi.Parameters
	ColumnType  = abi.ColumnType
	Column      = abi.Column
)

// Prediction is what a logit stands for.
type Prediction uint32

// In the order of the contract.
const (
	Logit Prediction = iota
	Value
	LogRate
	Score
)

// Labels are those that a loss takes.
type Labels uint32

// In the order of the contract.
const (
	Binary Labels = iota
	NonNegative
	Any
)

// Demands are what a loss asks of training.
type Demands struct {
	Prediction Prediction
	Labels     Labels
	Columns    []string
}

// Batch holds the rows that a loss is asked about. Weights is nil where every row weighs 1.
type Batch struct {
	Logits, Labels, Weights []float32
	Columns                 []Column
}

// Loss is an objective. An error refuses the configuration or the batch.
type Loss interface {
	About() Description
	// Configure is called once.
	Configure(parameters Parameters) (Demands, error)
	// Bind is called once with the types of the columns that Configure asked for.
	Bind(columns []ColumnType) error
	// Evaluate is called once per batch: it fills in both, [B], multiplied by the weights.
	Evaluate(batch Batch, losses, gradients []float32) error
}

var plugin Loss

// Register is called from an init function of package main.
func Register(loss Loss) { plugin = loss }

//go:wasmexport rectool:plugin/about@1.0.0#describe
func describe() uint32 { return abi.Describe(plugin.About()) }

//go:wasmexport rectool:plugin/objective@1.0.0#configure
func configure(parameters, parametersLength uint32) uint32 {
	abi.Begin()
	demands, err := plugin.Configure(abi.ParametersAt(parameters, parametersLength))
	if err != nil {
		return abi.Refuse(err)
	}
	list := abi.TextsOf(demands.Columns)
	return abi.Give(uint32(demands.Prediction)|uint32(demands.Labels)<<8, list.Address, list.Length)
}

//go:wasmexport rectool:plugin/objective@1.0.0#bind
func bind(columns, columnsLength uint32) uint32 {
	abi.Begin()
	if err := plugin.Bind(abi.ColumnTypesAt(columns, columnsLength)); err != nil {
		return abi.Refuse(err)
	}
	return abi.Give()
}

//go:wasmexport rectool:plugin/objective@1.0.0#evaluate
func evaluate(logits, rows, labels, labelsLength, weights, weightsLength, columns, columnsLength uint32) uint32 {
	abi.Begin()
	batch := Batch{
		abi.At[float32](logits, rows), abi.At[float32](labels, labelsLength),
		abi.At[float32](weights, weightsLength), abi.ColumnsAt(columns, columnsLength),
	}
	losses, gradients := make([]float32, rows), make([]float32, rows)
	if err := plugin.Evaluate(batch, losses, gradients); err != nil {
		return abi.Refuse(err)
	}
	first, second := abi.ListOf(losses), abi.ListOf(gradients)
	return abi.Give(first.Address, first.Length, second.Address, second.Length)
}
