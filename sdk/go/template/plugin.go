// {{name}}: multiplies float columns by a factor.
package main

import (
	"fmt"

	"rectool/plugin/abi"
	"rectool/plugin/transform"
)

type plugin struct {
	factor float32
}

func (p *plugin) About() transform.Description {
	return transform.Description{
		Name:    "{{name}}",
		Version: "0.1.0",
		Summary: "multiplies float columns by a factor",
		Parameters: []transform.Parameter{
			{Name: "factor", Type: abi.Number, Default: 1.0, Help: "what each value is multiplied by"},
		},
	}
}

// Called once: takes the parameters and the types of the columns, says which columns come out.
func (p *plugin) Configure(parameters transform.Parameters, inputs []transform.ColumnType) ([]transform.ColumnType, error) {
	p.factor = float32(parameters.Number("factor"))
	for _, input := range inputs {
		if input.Element != abi.Float32 {
			return nil, fmt.Errorf("column `%s` holds %s values; expected float32", input.Name, input.Element)
		}
	}
	return inputs, nil // the same names and types: the columns take their inputs' places
}

// Called once per batch. A missing value is NaN, and stays one.
func (p *plugin) Apply(rows int, columns []transform.Column) ([]transform.Column, error) {
	for _, column := range columns {
		for i := range column.Floats { // fixed or jagged
			column.Floats[i] *= p.factor
		}
	}
	return columns, nil
}

func init() { transform.Register(&plugin{}) }

func main() {}
