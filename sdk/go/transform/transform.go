// Package transform makes a Go type a rectool plugin that computes columns from columns.
package transform

import "rectool/plugin/abi"

// The types that a transform works with.
type (
	Description = abi.Description
	Parameter   = abi.Parameter
	Parameters  = abi.Parameters
	ColumnType  = abi.ColumnType
	Column      = abi.Column
	Texts       = abi.PackedTexts
)

// Transform computes columns from columns. An error refuses the configuration or the batch;
// abi.InRow makes one that blames a row.
type Transform interface {
	About() Description
	// Configure is called once: it says which columns Apply will make of these.
	Configure(parameters Parameters, inputs []ColumnType) ([]ColumnType, error)
	// Apply is called once per batch. It may change the columns in place and give them back.
	Apply(rows int, columns []Column) ([]Column, error)
}

var plugin Transform

// Register is called from an init function of package main.
func Register(transform Transform) { plugin = transform }

//go:wasmexport rectool:plugin/about@1.0.0#describe
func describe() uint32 { return abi.Describe(plugin.About()) }

//go:wasmexport rectool:plugin/transform@1.0.0#configure
func configure(parameters, parametersLength, inputs, inputsLength uint32) uint32 {
	abi.Begin()
	outputs, err := plugin.Configure(
		abi.ParametersAt(parameters, parametersLength), abi.ColumnTypesAt(inputs, inputsLength))
	if err != nil {
		return abi.Refuse(err)
	}
	list := abi.ColumnTypesOf(outputs)
	return abi.Give(list.Address, list.Length)
}

//go:wasmexport rectool:plugin/transform@1.0.0#apply
func apply(rows, columns, columnsLength uint32) uint32 {
	abi.Begin()
	outputs, err := plugin.Apply(int(rows), abi.ColumnsAt(columns, columnsLength))
	if err != nil {
		return abi.Refuse(err)
	}
	list := abi.ColumnsOf(outputs)
	return abi.Give(list.Address, list.Length)
}
