/* {{name}}: multiplies float columns by a factor. */
#include "rectool_plugin.h"

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("factor"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(1.0),
        .help = RECTOOL_STRING("what each value is multiplied by"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("multiplies float columns by a factor"),
    .parameters = RECTOOL_LIST(parameters),
};

static float factor;

/* Called once: takes the parameters and the types of the columns, says which columns come out. */
static bool configure(rectool_parameters given, rectool_column_types inputs,
                      rectool_column_types *outputs, rectool_fault *fault) {
    factor = (float)rectool_number(given, "factor");
    for (uint32_t i = 0; i < inputs.length; i++) {
        if (inputs.data[i].element != RECTOOL_FLOAT32) {
            return rectool_refuse(fault, "expected float columns, found another type in",
                                  inputs.data[i].name);
        }
    }
    *outputs = inputs; /* the same names and types: the columns take their inputs' places */
    return true;
}

/* Called once per batch. A missing value is NaN, and stays one. */
static bool apply(uint32_t rows, rectool_columns inputs, rectool_columns *outputs,
                  rectool_fault *fault) {
    (void)rows;
    (void)fault;
    for (uint32_t i = 0; i < inputs.length; i++) {
        rectool_floats values = rectool_float_values(&inputs.data[i]); /* fixed or jagged */
        for (uint32_t j = 0; j < values.length; j++) {
            values.data[j] *= factor;
        }
    }
    *outputs = inputs;
    return true;
}

RECTOOL_TRANSFORM(about, configure, apply)
