package abi

import (
	"errors"
	"fmt"
)

// Fault is an error of one row of a call.
type Fault struct {
	Message string
	Row     int
}

func (f *Fault) Error() string { return f.Message }

// InRow is an error that blames a row of this call, from 0.
func InRow(row int, format string, values ...any) error {
	return &Fault{fmt.Sprintf(format, values...), row}
}

// Refuse is a result that is a fault.
func Refuse(err error) uint32 {
	message := TextOf(err.Error())
	result := &Result{Failed: 1, Value: [4]uint32{message.Address, message.Length, 0, 0}}
	var fault *Fault
	if errors.As(err, &fault) && fault.Row >= 0 {
		result.Value[2], result.Value[3] = 1, uint32(fault.Row)
	}
	return give(result)
}
