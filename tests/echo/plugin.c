/* Gives every column back, rebuilt through the binding, and sums over all parameters. */
#include "rectool_plugin.h"

static rectool_string words[] = {RECTOOL_STRING("h\xc3\xa9llo"), RECTOOL_STRING("x")};

static const rectool_parameter_type parameters[] = {
    {.name = RECTOOL_STRING("flag"), .type = RECTOOL_BOOLEAN, .initial = RECTOOL_INITIAL_BOOLEAN(true)},
    {.name = RECTOOL_STRING("whole"), .type = RECTOOL_INTEGER, .initial = RECTOOL_INITIAL_INTEGER(-7),
     .min = RECTOOL_BOUND(-10), .max = RECTOOL_BOUND(10), .unit = RECTOOL_STRING("rows")},
    {.name = RECTOOL_STRING("number"), .type = RECTOOL_NUMBER, .initial = RECTOOL_INITIAL_NUMBER(0.25)},
    {.name = RECTOOL_STRING("word"), .type = RECTOOL_TEXT_VALUE,
     .initial = RECTOOL_INITIAL_TEXT("h\xc3\xa9llo"), .choices = RECTOOL_LIST(words)},
    {.name = RECTOOL_STRING("flags"), .type = RECTOOL_BOOLEANS},
    {.name = RECTOOL_STRING("integers"), .type = RECTOOL_INTEGERS},
    {.name = RECTOOL_STRING("numbers"), .type = RECTOOL_NUMBERS},
    {.name = RECTOOL_STRING("texts"), .type = RECTOOL_TEXT_VALUES},
};

static const rectool_description about = {
    RECTOOL_STRING("echo"), RECTOOL_STRING("1.0.0"), RECTOOL_STRING("gives columns back"), RECTOOL_LIST(parameters)};

static float sums[8];

static bool configure(rectool_parameters given, rectool_column_types inputs, rectool_column_types *outputs,
                      rectool_fault *fault) {
    (void)fault;
    double counted = 0, whole = 0, numbers = 0, bytes = 0;
    const rectool_value *value = rectool_parameter_value(given, "flags");
    for (uint32_t i = 0; i < value->booleans.length; i++) counted += value->booleans.data[i];
    value = rectool_parameter_value(given, "integers");
    for (uint32_t i = 0; i < value->integers.length; i++) whole += (double)value->integers.data[i];
    value = rectool_parameter_value(given, "numbers");
    for (uint32_t i = 0; i < value->numbers.length; i++) numbers += value->numbers.data[i];
    value = rectool_parameter_value(given, "texts");
    for (uint32_t i = 0; i < value->texts.length; i++) bytes += value->texts.data[i].length;
    double all[8] = {rectool_boolean(given, "flag"), (double)rectool_integer(given, "whole"),
                     rectool_number(given, "number"), rectool_text(given, "word").length,
                     counted, whole, numbers, bytes};
    for (uint32_t i = 0; i < 8; i++) sums[i] = (float)all[i];

    rectool_column_type *types = rectool_allocate((inputs.length + 1) * sizeof *types);
    for (uint32_t i = 0; i < inputs.length; i++) types[i] = inputs.data[i];
    types[inputs.length] = (rectool_column_type){
        .name = rectool_string_of("sums"), .element = RECTOOL_FLOAT32, .shape = {.width = 8}};
    *outputs = (rectool_column_types){types, inputs.length + 1};
    return true;
}

static bool rebuild(const rectool_texts *texts, rectool_texts *made, rectool_fault *fault) {
    uint32_t count = rectool_text_count(texts);
    rectool_text_writer writer = rectool_text_writer_new(count, 1); /* too small: it has to grow */
    for (uint32_t i = 0; i < count; i++) {
        rectool_string text;
        if (!rectool_text_at(texts, i, &text)) rectool_text_writer_add_missing(&writer);
        else if (rectool_string_equal(text, "refuse")) return rectool_refuse_row(fault, "not this text", i);
        else rectool_text_writer_add(&writer, text);
    }
    *made = writer.texts;
    return true;
}

static bool apply(uint32_t rows, rectool_columns inputs, rectool_columns *outputs, rectool_fault *fault) {
    rectool_column *columns = rectool_allocate((inputs.length + 1) * sizeof *columns);
    for (uint32_t i = 0; i < inputs.length; i++) {
        columns[i] = inputs.data[i];
        if (columns[i].tag == RECTOOL_TEXTS && !rebuild(&inputs.data[i].texts, &columns[i].texts, fault)) return false;
        if (columns[i].tag == RECTOOL_TEXT_LISTS &&
            !rebuild(&inputs.data[i].text_lists.values, &columns[i].text_lists.values, fault)) return false;
    }
    float *values = rectool_allocate(rows * sizeof sums);
    for (uint32_t i = 0; i < rows * 8; i++) values[i] = sums[i % 8];
    columns[inputs.length] = (rectool_column){.tag = RECTOOL_FLOATS, .floats = {values, rows * 8}};
    *outputs = (rectool_columns){columns, inputs.length + 1};
    return true;
}

RECTOOL_TRANSFORM(about, configure, apply)
