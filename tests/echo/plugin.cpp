// Gives every column back, rebuilt through the binding, and sums over all parameters.
#include "rectool_plugin.hpp"

using namespace rectool;

static rectool_string words[] = {RECTOOL_STRING("h\xc3\xa9llo"), RECTOOL_STRING("x")};

static const rectool_parameter_type parameters[] = {
    {RECTOOL_STRING("flag"), RECTOOL_BOOLEAN, RECTOOL_INITIAL_BOOLEAN(true), {}, {}, {}, {}, {}},
    {RECTOOL_STRING("whole"), RECTOOL_INTEGER, RECTOOL_INITIAL_INTEGER(-7), RECTOOL_BOUND(-10), RECTOOL_BOUND(10), {},
     RECTOOL_STRING("rows"), {}},
    {RECTOOL_STRING("number"), RECTOOL_NUMBER, RECTOOL_INITIAL_NUMBER(0.25), {}, {}, {}, {}, {}},
    {RECTOOL_STRING("word"), RECTOOL_TEXT_VALUE, RECTOOL_INITIAL_TEXT("h\xc3\xa9llo"), {}, {}, RECTOOL_LIST(words), {}, {}},
    {RECTOOL_STRING("flags"), RECTOOL_BOOLEANS, {}, {}, {}, {}, {}, {}},
    {RECTOOL_STRING("integers"), RECTOOL_INTEGERS, {}, {}, {}, {}, {}, {}},
    {RECTOOL_STRING("numbers"), RECTOOL_NUMBERS, {}, {}, {}, {}, {}, {}},
    {RECTOOL_STRING("texts"), RECTOOL_TEXT_VALUES, {}, {}, {}, {}, {}, {}},
};

static const rectool_description about = {
    RECTOOL_STRING("echo"), RECTOOL_STRING("1.0.0"), RECTOOL_STRING("gives columns back"), RECTOOL_LIST(parameters)};

class Plugin {
  public:
    bool configure(Parameters given, Span<ColumnType> inputs, Span<ColumnType> &outputs, Fault &) {
        sums[0] = given.boolean("flag");
        sums[1] = static_cast<float>(given.integer("whole"));
        sums[2] = static_cast<float>(given.number("number"));
        sums[3] = static_cast<float>(given.text("word").length);
        double totals[4] = {};
        for (bool flag : given.booleans("flags")) totals[0] += flag;
        for (int64_t value : given.integers("integers")) totals[1] += static_cast<double>(value);
        for (double value : given.numbers("numbers")) totals[2] += value;
        for (rectool_string text : given.texts("texts")) totals[3] += text.length;
        for (int i = 0; i < 4; i++) sums[4 + i] = static_cast<float>(totals[i]);
        outputs = allocate<ColumnType>(inputs.size() + 1);
        for (uint32_t i = 0; i < inputs.size(); i++) outputs[i] = inputs[i];
        ColumnType &last = outputs[inputs.size()];
        last = {};
        last.name = Text("sums");
        last.element = RECTOOL_FLOAT32;
        last.shape.width = 8;
        return true;
    }

    bool apply(uint32_t rows, Span<Column> inputs, Span<Column> &outputs, Fault &fault) {
        outputs = allocate<Column>(inputs.size() + 1);
        for (uint32_t i = 0; i < inputs.size(); i++) {
            const Column &column = inputs[i];
            switch (column.tag) {
            case RECTOOL_FLOATS: outputs[i] = Column::of(column.floats()); break;
            case RECTOOL_INTS: outputs[i] = Column::of(column.ids()); break;
            case RECTOOL_FLOAT_LISTS: outputs[i] = Column::of(column.offsets(), column.floats()); break;
            case RECTOOL_INT_LISTS: outputs[i] = Column::of(column.offsets(), column.ids()); break;
            default:
                rectool_text_writer writer = rectool_text_writer_new(column.texts().size(), 1);
                uint32_t row = 0;
                for (Text text : column.texts()) {
                    if (text.missing) rectool_text_writer_add_missing(&writer);
                    else if (text == "refuse") return fault.refuse_row("not this text", row);
                    else rectool_text_writer_add(&writer, text);
                    row += 1;
                }
                outputs[i] = column.tag == RECTOOL_TEXTS ? Column::of(writer) : Column::of(column.offsets(), writer);
            }
        }
        Span<float> values = allocate<float>(rows * 8);
        for (uint32_t i = 0; i < values.size(); i++) values[i] = sums[i % 8];
        outputs[inputs.size()] = Column::of(values);
        return true;
    }

  private:
    float sums[8];
};

RECTOOL_TRANSFORM_CLASS(about, Plugin)
