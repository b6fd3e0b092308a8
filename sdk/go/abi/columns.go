package abi

// Element is the type of single values.
type Element uint32

// In the order of the contract.
const (
	Float32 Element = iota
	Int64
	Text
)

func (e Element) String() string { return [...]string{"float32", "int64", "text"}[e] }

// MissingID stands for a missing id. A missing float is NaN.
const MissingID int64 = -1

// ColumnType is a column's name and type.
type ColumnType struct {
	Name    string
	Element Element
	Jagged  bool     // any number of values in a row
	Width   int      // values in each row, unless jagged
	Members []string // names of the values of a packed column, or none
}

type rawColumnType struct {
	name    List
	element uint32
	jagged  uint32
	width   uint32
	members List
}

// ColumnTypesAt are the types that the host passed.
func ColumnTypesAt(address, length uint32) []ColumnType {
	raws := At[rawColumnType](address, length)
	types := make([]ColumnType, len(raws))
	for i, raw := range raws {
		types[i] = ColumnType{
			raw.name.Text(), Element(raw.element & 0xff), raw.jagged&0xff != 0, int(raw.width), TextsAt(raw.members),
		}
	}
	return types
}

// ColumnTypesOf holds types for the host to read.
func ColumnTypesOf(types []ColumnType) List {
	raws := make([]rawColumnType, len(types))
	for i, column := range types {
		raw := rawColumnType{TextOf(column.Name), uint32(column.Element), 0, uint32(column.Width), TextsOf(column.Members)}
		if column.Jagged {
			raw.jagged = 1
		}
		raws[i] = raw
	}
	return ListOf(raws)
}

// PackedTexts are texts one after the other.
type PackedTexts struct {
	Offsets  []uint32
	Bytes    []byte
	Validity []byte // bit i says whether text i is there; empty: all are
}

// Len is the number of texts.
func (t *PackedTexts) Len() int { return len(t.Offsets) - 1 }

// At is text i, not copied, and whether it is there.
func (t *PackedTexts) At(i int) ([]byte, bool) {
	there := len(t.Validity) == 0 || t.Validity[i/8]>>(i%8)&1 == 1
	return t.Bytes[t.Offsets[i]:t.Offsets[i+1]], there
}

// Add puts a text at the end; start with NewTexts.
func (t *PackedTexts) Add(text []byte) {
	i := len(t.Offsets) - 1
	t.AddMissing()
	t.Bytes = append(t.Bytes, text...)
	t.Offsets[i+1] = uint32(len(t.Bytes))
	t.Validity[i/8] |= 1 << (i % 8)
}

// AddMissing puts a missing text at the end.
func (t *PackedTexts) AddMissing() {
	if i := len(t.Offsets) - 1; i%8 == 0 {
		t.Validity = append(t.Validity, 0)
	}
	t.Offsets = append(t.Offsets, uint32(len(t.Bytes)))
}

// NewTexts has no texts yet.
func NewTexts() *PackedTexts { return &PackedTexts{Offsets: []uint32{0}} }

// Column holds the values of a column: Floats, IDs or Texts as its Element says, row after row. The
// slices lie in the memory that the host wrote: they may be changed in place and given back.
type Column struct {
	Element Element
	Floats  []float32
	IDs     []int64
	Texts   *PackedTexts
	Offsets []uint32 // of a jagged column: row i is the values from Offsets[i] to Offsets[i+1]
}

type rawColumn struct {
	tag   uint32
	lists [4]List
}

// The tags of `column`: fixed floats, ids, texts, then the same jagged.
const jagged = 3

func textsAt(lists []List) *PackedTexts {
	return &PackedTexts{
		At[uint32](lists[0].Address, lists[0].Length), At[byte](lists[1].Address, lists[1].Length),
		At[byte](lists[2].Address, lists[2].Length),
	}
}

// ColumnsAt are the columns that the host passed.
func ColumnsAt(address, length uint32) []Column {
	raws := At[rawColumn](address, length)
	columns := make([]Column, len(raws))
	for i := range raws {
		tag, lists := raws[i].tag&0xff, raws[i].lists[:]
		column := &columns[i]
		if tag >= jagged {
			column.Offsets = At[uint32](lists[0].Address, lists[0].Length)
			tag, lists = tag-jagged, lists[1:]
		}
		column.Element = Element(tag)
		switch column.Element {
		case Float32:
			column.Floats = At[float32](lists[0].Address, lists[0].Length)
		case Int64:
			column.IDs = At[int64](lists[0].Address, lists[0].Length)
		default:
			column.Texts = textsAt(lists)
		}
	}
	return columns
}

// ColumnsOf holds columns for the host to read.
func ColumnsOf(columns []Column) List {
	raws := make([]rawColumn, len(columns))
	for i, column := range columns {
		raw := &raws[i]
		raw.tag = uint32(column.Element)
		lists := raw.lists[:]
		if column.Offsets != nil {
			raw.tag += jagged
			lists[0] = ListOf(column.Offsets)
			lists = lists[1:]
		}
		switch column.Element {
		case Float32:
			lists[0] = ListOf(column.Floats)
		case Int64:
			lists[0] = ListOf(column.IDs)
		default:
			lists[0], lists[1] = ListOf(column.Texts.Offsets), ListOf(column.Texts.Bytes)
			lists[2] = ListOf(column.Texts.Validity)
		}
	}
	return ListOf(raws)
}
