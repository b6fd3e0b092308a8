/* What a rectool plugin in C is written with: the types of the contract and what serves them.
 *
 * The structs below lie in memory exactly as the component model passes them to 32-bit Wasm, so
 * nothing is converted: columns are arrays that the plugin reads, and may change, in place.
 *
 * No libc is needed. `rectool_plugin.c` is compiled together with the plugin.
 */
#ifndef RECTOOL_PLUGIN_H
#define RECTOOL_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Text -------------------------------------------------------------------------------------- */

/* UTF-8 without a final zero. */
typedef struct {
    const char *data;
    uint32_t length;
} rectool_string;

/* A string literal as a rectool_string, also in static initialisers. */
#define RECTOOL_STRING(literal) {(literal), sizeof(literal) - 1}

rectool_string rectool_string_of(const char *zero_terminated);
bool rectool_string_equal(rectool_string text, const char *zero_terminated);

/* Columns ----------------------------------------------------------------------------------- */

enum { RECTOOL_FLOAT32 = 0, RECTOOL_INT64 = 1, RECTOOL_TEXT = 2 };

/* A missing id. A missing float is NaN. */
#define RECTOOL_MISSING_ID ((int64_t)-1)

typedef struct {
    rectool_string *data;
    uint32_t length;
} rectool_strings;

/* A column's name and type. */
typedef struct {
    rectool_string name;
    uint8_t element; /* RECTOOL_FLOAT32, RECTOOL_INT64 or RECTOOL_TEXT */
    struct {
        uint8_t jagged; /* 1: any number of values in a row */
        uint32_t width; /* values in each row, unless jagged */
    } shape;
    rectool_strings members; /* names of the values of a packed column, or none */
} rectool_column_type;

typedef struct {
    rectool_column_type *data;
    uint32_t length;
} rectool_column_types;

typedef struct {
    float *data;
    uint32_t length;
} rectool_floats;

typedef struct {
    int64_t *data;
    uint32_t length;
} rectool_ints;

typedef struct {
    uint32_t *data;
    uint32_t length;
} rectool_offsets;

typedef struct {
    uint8_t *data;
    uint32_t length;
} rectool_bytes;

/* Text i is bytes[offsets[i] .. offsets[i + 1]]; see rectool_text_at and rectool_text_writer. */
typedef struct {
    rectool_offsets offsets;
    rectool_bytes bytes;
    rectool_bytes validity;
} rectool_texts;

/* Row i is values[offsets[i] .. offsets[i + 1]]. */
typedef struct {
    rectool_offsets offsets;
    rectool_floats values;
} rectool_float_lists;

typedef struct {
    rectool_offsets offsets;
    rectool_ints values;
} rectool_int_lists;

typedef struct {
    rectool_offsets offsets;
    rectool_texts values;
} rectool_text_lists;

/* Which member of a column's union holds its values. */
enum {
    RECTOOL_FLOATS = 0,
    RECTOOL_INTS = 1,
    RECTOOL_TEXTS = 2,
    RECTOOL_FLOAT_LISTS = 3,
    RECTOOL_INT_LISTS = 4,
    RECTOOL_TEXT_LISTS = 5
};

typedef struct {
    uint8_t tag;
    union {
        rectool_floats floats; /* [B, width] */
        rectool_ints ints;     /* [B, width] */
        rectool_texts texts;   /* [B, width] */
        rectool_float_lists float_lists;
        rectool_int_lists int_lists;
        rectool_text_lists text_lists;
    };
} rectool_column;

typedef struct {
    rectool_column *data;
    uint32_t length;
} rectool_columns;

/* Number of texts. */
uint32_t rectool_text_count(const rectool_texts *texts);
/* Text i; false where it is missing. */
bool rectool_text_at(const rectool_texts *texts, uint32_t i, rectool_string *text);
/* All float values of a column, fixed or jagged; NULL with length 0 for another type. */
rectool_floats rectool_float_values(const rectool_column *column);
/* All ids of a column, fixed or jagged. */
rectool_ints rectool_int_values(const rectool_column *column);

/* Makes packed texts one after the other. */
typedef struct {
    rectool_texts texts;
    uint32_t bytes_capacity;
} rectool_text_writer;

/* For exactly `count` texts; `bytes` is a first guess at their total size. */
rectool_text_writer rectool_text_writer_new(uint32_t count, uint32_t bytes);
void rectool_text_writer_add(rectool_text_writer *writer, rectool_string text);
void rectool_text_writer_add_missing(rectool_text_writer *writer);

/* Parameters and description ---------------------------------------------------------------- */

enum {
    RECTOOL_BOOLEAN = 0,
    RECTOOL_INTEGER = 1,
    RECTOOL_NUMBER = 2,
    RECTOOL_TEXT_VALUE = 3,
    RECTOOL_BOOLEANS = 4,
    RECTOOL_INTEGERS = 5,
    RECTOOL_NUMBERS = 6,
    RECTOOL_TEXT_VALUES = 7
};

typedef struct {
    const double *data;
    uint32_t length;
} rectool_numbers;

typedef struct {
    uint8_t tag;
    union {
        bool boolean;
        int64_t integer;
        double number;
        rectool_string text;
        rectool_bytes booleans;
        rectool_ints integers;
        rectool_numbers numbers;
        rectool_strings texts;
    };
} rectool_value;

typedef struct {
    rectool_string name;
    rectool_value value;
} rectool_parameter;

typedef struct {
    const rectool_parameter *data;
    uint32_t length;
} rectool_parameters;

typedef struct {
    uint8_t given;
    rectool_value value;
} rectool_optional_value;

typedef struct {
    uint8_t given;
    double value;
} rectool_optional_number;

/* A parameter that a recipe may set. The host checks type, range and choices. */
typedef struct {
    rectool_string name;
    uint8_t type; /* RECTOOL_BOOLEAN .. RECTOOL_TEXT_VALUES */
    rectool_optional_value initial; /* without one the recipe must give the parameter */
    rectool_optional_number min;
    rectool_optional_number max;
    rectool_strings choices;
    rectool_string unit;
    rectool_string help;
} rectool_parameter_type;

typedef struct {
    const rectool_parameter_type *data;
    uint32_t length;
} rectool_parameter_types;

typedef struct {
    rectool_string name;
    rectool_string version;
    rectool_string summary;
    rectool_parameter_types parameters;
} rectool_description;

/* For the fields of a rectool_parameter_type. */
#define RECTOOL_INITIAL_NUMBER(x) {1, {RECTOOL_NUMBER, {.number = (x)}}}
#define RECTOOL_INITIAL_INTEGER(x) {1, {RECTOOL_INTEGER, {.integer = (x)}}}
#define RECTOOL_INITIAL_BOOLEAN(x) {1, {RECTOOL_BOOLEAN, {.boolean = (x)}}}
#define RECTOOL_INITIAL_TEXT(literal) {1, {RECTOOL_TEXT_VALUE, {.text = RECTOOL_STRING(literal)}}}
#define RECTOOL_BOUND(x) {1, (x)}
/* An array as the list that a struct wants. */
#define RECTOOL_LIST(array) {(array), sizeof(array) / sizeof((array)[0])}

/* The value of a parameter. The name must be one of the description's, with this type: the host
 * gives all of them, and a wrong name traps. */
double rectool_number(rectool_parameters parameters, const char *name);
int64_t rectool_integer(rectool_parameters parameters, const char *name);
bool rectool_boolean(rectool_parameters parameters, const char *name);
rectool_string rectool_text(rectool_parameters parameters, const char *name);
const rectool_value *rectool_parameter_value(rectool_parameters parameters, const char *name);

/* Faults ------------------------------------------------------------------------------------ */

typedef struct {
    rectool_string message;
    uint8_t has_row;
    uint32_t row;
} rectool_fault;

/* Writes "message `subject`" and returns false: `return rectool_refuse(fault, "...", name);` */
bool rectool_refuse(rectool_fault *fault, const char *message, rectool_string subject);
/* The same for a row of this call, from 0. */
bool rectool_refuse_row(rectool_fault *fault, const char *message, uint32_t row);

/* Memory ------------------------------------------------------------------------------------ */

/* Memory that is taken back when the call has ended and its results have been read. Never NULL. */
void *rectool_allocate(size_t bytes);
/* Memory that lives as long as the instance: what `configure` makes for later calls. Parameters
 * and column names given to `configure` must be copied into it. */
void *rectool_keep(size_t bytes);
rectool_string rectool_keep_string(rectool_string text);

/* Random numbers ---------------------------------------------------------------------------- */

/* A stream that depends on its seed alone: `uint64_t stream = seed;`. */
uint64_t rectool_next(uint64_t *stream);
/* 0 .. bound - 1, each as likely; bound > 0. */
uint64_t rectool_below(uint64_t *stream, uint64_t bound);
/* 0 <= x < 1. */
double rectool_unit(uint64_t *stream);

/* Transforms -------------------------------------------------------------------------------- */

/* Functions return false after filling in `fault`. Input columns may be changed in place and given
 * back as outputs. */
typedef bool (*rectool_transform_configure)(rectool_parameters parameters, rectool_column_types inputs,
                                            rectool_column_types *outputs, rectool_fault *fault);
typedef bool (*rectool_transform_apply)(uint32_t rows, rectool_columns inputs,
                                        rectool_columns *outputs, rectool_fault *fault);

/* Losses ------------------------------------------------------------------------------------ */

enum { RECTOOL_LOGIT = 0, RECTOOL_PREDICT_VALUE = 1, RECTOOL_LOG_RATE = 2, RECTOOL_SCORE = 3 };
enum { RECTOOL_LABELS_BINARY = 0, RECTOOL_LABELS_NON_NEGATIVE = 1, RECTOOL_LABELS_ANY = 2 };

typedef struct {
    uint8_t prediction; /* RECTOOL_LOGIT .. */
    uint8_t labels;     /* RECTOOL_LABELS_BINARY .. */
    rectool_strings columns;
} rectool_demands;

typedef struct {
    uint32_t rows;
    const float *logits;
    const float *labels;
    const float *weights; /* NULL where every row weighs 1 */
    rectool_columns columns;
} rectool_loss_batch;

typedef bool (*rectool_loss_configure)(rectool_parameters parameters, rectool_demands *demands,
                                       rectool_fault *fault);
typedef bool (*rectool_loss_bind)(rectool_column_types columns, rectool_fault *fault);
/* Fills in losses and gradients: [B], both multiplied by the weights. */
typedef bool (*rectool_loss_evaluate)(const rectool_loss_batch *batch, float *losses,
                                      float *gradients, rectool_fault *fault);

/* For losses that want no columns. */
bool rectool_bind_any(rectool_column_types columns, rectool_fault *fault);

/* Samplers ---------------------------------------------------------------------------------- */

typedef struct {
    uint64_t *data;
    uint32_t length;
} rectool_counts;

/* One entry per item. Belongs to the call: copy what `sample` needs with rectool_keep. */
typedef struct {
    rectool_ints ids; /* ascending */
    rectool_counts counts;
    rectool_counts last_rows;
    rectool_floats scores; /* empty where the recipe names no score column */
} rectool_items;

typedef bool (*rectool_sampler_configure)(rectool_parameters parameters, const rectool_items *items,
                                          rectool_fault *fault);
/* Fills in `count` ids and log-probabilities for each positive: [B, K]. */
typedef bool (*rectool_sampler_sample)(rectool_ints positives, uint32_t count, uint64_t seed,
                                       int64_t *ids, float *log_probabilities, rectool_fault *fault);

/* Exports ----------------------------------------------------------------------------------- */

const void *rectool_call_describe(const rectool_description *description);
const void *rectool_call_transform_configure(rectool_transform_configure configure,
                                             rectool_parameters parameters,
                                             rectool_column_types inputs);
const void *rectool_call_transform_apply(rectool_transform_apply apply, uint32_t rows,
                                         rectool_columns columns);
const void *rectool_call_loss_configure(rectool_loss_configure configure,
                                        rectool_parameters parameters);
const void *rectool_call_loss_bind(rectool_loss_bind bind, rectool_column_types columns);
const void *rectool_call_loss_evaluate(rectool_loss_evaluate evaluate, rectool_floats logits,
                                       rectool_floats labels, rectool_floats weights,
                                       rectool_columns columns);
const void *rectool_call_sampler_configure(rectool_sampler_configure configure,
                                           rectool_parameters parameters, const rectool_items *items);
const void *rectool_call_sampler_sample(rectool_sampler_sample sample, rectool_ints positives,
                                        uint32_t count, uint64_t seed);

#ifdef __cplusplus
#define RECTOOL_EXPORT(name) extern "C" __attribute__((export_name("rectool:plugin/" name))) const void *
#else
#define RECTOOL_EXPORT(name) __attribute__((export_name("rectool:plugin/" name))) const void *
#endif

#define RECTOOL_EXPORT_ABOUT(description)                                                          \
    RECTOOL_EXPORT("about@1.0.0#describe") rectool_export_describe(void) {                         \
        return rectool_call_describe(&(description));                                              \
    }

/* Each plugin uses one of these three, once, outside of any function. */
#define RECTOOL_TRANSFORM(description, configure, apply)                                           \
    RECTOOL_EXPORT_ABOUT(description)                                                              \
    RECTOOL_EXPORT("transform@1.0.0#configure")                                                    \
    rectool_export_configure(const rectool_parameter *parameters, uint32_t parameters_length,      \
                             rectool_column_type *inputs, uint32_t inputs_length) {                \
        rectool_parameters given = {parameters, parameters_length};                                \
        rectool_column_types types = {inputs, inputs_length};                                      \
        return rectool_call_transform_configure(configure, given, types);                          \
    }                                                                                              \
    RECTOOL_EXPORT("transform@1.0.0#apply")                                                        \
    rectool_export_apply(uint32_t rows, rectool_column *columns, uint32_t columns_length) {        \
        rectool_columns inputs = {columns, columns_length};                                        \
        return rectool_call_transform_apply(apply, rows, inputs);                                  \
    }

#define RECTOOL_LOSS(description, configure, bind, evaluate)                                       \
    RECTOOL_EXPORT_ABOUT(description)                                                              \
    RECTOOL_EXPORT("objective@1.0.0#configure")                                                    \
    rectool_export_configure(const rectool_parameter *parameters, uint32_t parameters_length) {    \
        rectool_parameters given = {parameters, parameters_length};                                \
        return rectool_call_loss_configure(configure, given);                                      \
    }                                                                                              \
    RECTOOL_EXPORT("objective@1.0.0#bind")                                                         \
    rectool_export_bind(rectool_column_type *columns, uint32_t columns_length) {                   \
        rectool_column_types types = {columns, columns_length};                                    \
        return rectool_call_loss_bind(bind, types);                                                \
    }                                                                                              \
    RECTOOL_EXPORT("objective@1.0.0#evaluate")                                                     \
    rectool_export_evaluate(float *logits, uint32_t rows, float *labels, uint32_t labels_length,   \
                            float *weights, uint32_t weights_length, rectool_column *columns,      \
                            uint32_t columns_length) {                                             \
        rectool_floats given_logits = {logits, rows};                                              \
        rectool_floats given_labels = {labels, labels_length};                                     \
        rectool_floats given_weights = {weights, weights_length};                                  \
        rectool_columns given_columns = {columns, columns_length};                                 \
        return rectool_call_loss_evaluate(evaluate, given_logits, given_labels, given_weights,     \
                                          given_columns);                                          \
    }

#define RECTOOL_SAMPLER(description, configure, sample)                                            \
    RECTOOL_EXPORT_ABOUT(description)                                                              \
    RECTOOL_EXPORT("sampler@1.0.0#configure")                                                      \
    rectool_export_configure(const rectool_parameter *parameters, uint32_t parameters_length,      \
                             int64_t *ids, uint32_t ids_length, uint64_t *counts,                  \
                             uint32_t counts_length, uint64_t *last_rows,                          \
                             uint32_t last_rows_length, float *scores, uint32_t scores_length) {   \
        rectool_parameters given = {parameters, parameters_length};                                \
        rectool_items items = {{ids, ids_length},                                                  \
                               {counts, counts_length},                                            \
                               {last_rows, last_rows_length},                                      \
                               {scores, scores_length}};                                           \
        return rectool_call_sampler_configure(configure, given, &items);                           \
    }                                                                                              \
    RECTOOL_EXPORT("sampler@1.0.0#sample")                                                         \
    rectool_export_sample(int64_t *positives, uint32_t rows, uint32_t count, uint64_t seed) {      \
        rectool_ints given = {positives, rows};                                                    \
        return rectool_call_sampler_sample(sample, given, count, seed);                            \
    }

#ifdef __cplusplus
}
#endif

#endif
