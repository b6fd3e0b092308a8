// {{name}}: multiplies float columns by a factor.
#include "rectool_plugin.hpp"

using rectool::Column;
using rectool::ColumnType;
using rectool::Fault;
using rectool::Parameters;
using rectool::Span;

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("factor"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(1.0),
        .min = {},
        .max = {},
        .choices = {},
        .unit = {},
        .help = RECTOOL_STRING("what each value is multiplied by"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("multiplies float columns by a factor"),
    .parameters = RECTOOL_LIST(parameters),
};

class Plugin {
  public:
    // Called once: takes the parameters and the types of the columns, says which columns come out.
    bool configure(Parameters given, Span<ColumnType> inputs, Span<ColumnType> &outputs,
                   Fault &fault) {
        factor = static_cast<float>(given.number("factor"));
        for (const ColumnType &input : inputs) {
            if (!input.is_float()) {
                return fault.refuse("expected float columns, found another type in", input.name);
            }
        }
        outputs = inputs; // the same names and types: the columns take their inputs' places
        return true;
    }

    // Called once per batch. A missing value is NaN, and stays one.
    bool apply(uint32_t, Span<Column> inputs, Span<Column> &outputs, Fault &) {
        for (Column &column : inputs) {
            for (float &value : column.floats()) { // fixed or jagged
                value *= factor;
            }
        }
        outputs = inputs;
        return true;
    }

  private:
    float factor = 1.0F;
};

RECTOOL_TRANSFORM_CLASS(about, Plugin)
