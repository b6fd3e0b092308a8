// Gives every column back, rebuilt through the binding, and sums over all parameters.
package main

import (
	"rectool/plugin/abi"
	"rectool/plugin/transform"
)

type plugin struct{ sums [8]float32 }

func (p *plugin) About() transform.Description {
	return transform.Description{
		Name: "echo", Version: "1.0.0", Summary: "gives columns back",
		Parameters: []transform.Parameter{
			{Name: "flag", Type: abi.Boolean, Default: true},
			{Name: "whole", Type: abi.Integer, Default: -7, Min: abi.Bound(-10), Max: abi.Bound(10), Unit: "rows"},
			{Name: "number", Type: abi.Number, Default: 0.25},
			{Name: "word", Type: abi.TextValue, Default: "héllo", Choices: []string{"héllo", "x"}},
			{Name: "flags", Type: abi.Booleans},
			{Name: "integers", Type: abi.Integers},
			{Name: "numbers", Type: abi.Numbers},
			{Name: "texts", Type: abi.Texts},
		},
	}
}

func (p *plugin) Configure(parameters transform.Parameters, inputs []transform.ColumnType) ([]transform.ColumnType, error) {
	var totals [4]float64
	for _, flag := range parameters.Booleans("flags") {
		if flag {
			totals[0]++
		}
	}
	for _, value := range parameters.Integers("integers") {
		totals[1] += float64(value)
	}
	for _, value := range parameters.Numbers("numbers") {
		totals[2] += value
	}
	for _, text := range parameters.Texts("texts") {
		totals[3] += float64(len(text))
	}
	if parameters.Boolean("flag") {
		p.sums[0] = 1
	}
	p.sums[1] = float32(parameters.Integer("whole"))
	p.sums[2] = float32(parameters.Number("number"))
	p.sums[3] = float32(len(parameters.Text("word")))
	for i, total := range totals {
		p.sums[4+i] = float32(total)
	}
	return append(inputs, transform.ColumnType{Name: "sums", Element: abi.Float32, Width: 8}), nil
}

func (p *plugin) Apply(rows int, columns []transform.Column) ([]transform.Column, error) {
	for i := range columns {
		texts := columns[i].Texts
		if texts == nil {
			continue
		}
		made := abi.NewTexts()
		for j := range texts.Len() {
			text, there := texts.At(j)
			if string(text) == "refuse" {
				return nil, abi.InRow(j, "not this %s", "text")
			}
			if there {
				made.Add(text)
			} else {
				made.AddMissing()
			}
		}
		columns[i].Texts = made
	}
	values := make([]float32, 0, rows*8)
	for range rows {
		values = append(values, p.sums[:]...)
	}
	return append(columns, transform.Column{Element: abi.Float32, Floats: values}), nil
}

func init() { transform.Register(&plugin{}) }

func main() {}
