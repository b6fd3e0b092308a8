/* What stands behind rectool_plugin.h: memory, results as the component model wants them. */
#include "rectool_plugin.h"

#ifdef __cplusplus
#error "compile rectool_plugin.c as C: name it to clang, not to clang++"
#endif

/* The layouts that the contract fixes for 32-bit Wasm. */
_Static_assert(sizeof(rectool_column_type) == 28, "column-type");
_Static_assert(sizeof(rectool_column) == 36, "column");
_Static_assert(sizeof(rectool_value) == 16, "value");
_Static_assert(sizeof(rectool_parameter) == 24, "parameter");
_Static_assert(sizeof(rectool_parameter_type) == 96, "parameter-type");
_Static_assert(sizeof(rectool_description) == 32, "description");
_Static_assert(sizeof(rectool_fault) == 16, "fault");
_Static_assert(sizeof(rectool_demands) == 12, "demands");

/* Memory: two stacks of blocks, each block a piece that memory.grow gave. A call's stack is emptied
 * when the next call begins. Growing usually extends the last block, as pieces follow each other. */

enum { BLOCKS_MAX = 64, PAGE = 65536, ALIGNMENT = 16 };

typedef struct {
    uintptr_t start;
    uintptr_t end;
} block;

typedef struct {
    block blocks[BLOCKS_MAX];
    uint32_t count;
    uint32_t current;
    uintptr_t next;
} stack;

static stack call_stack;
static stack kept_stack;
static bool call_ended;

static void stack_grow(stack *stack, size_t bytes) {
    /* At least an eighth more than there is, so that a growing batch grows few times. */
    size_t held = stack->count ? stack->blocks[stack->count - 1].end - stack->blocks[0].start : 0;
    size_t wanted = bytes + ALIGNMENT > held / 8 ? bytes + ALIGNMENT : held / 8;
    size_t pages = (wanted + PAGE - 1) / PAGE;
    size_t old = __builtin_wasm_memory_grow(0, pages);
    if (old == (size_t)-1) {
        __builtin_trap();
    }
    uintptr_t start = old * PAGE;
    if (stack->count && stack->blocks[stack->count - 1].end == start) {
        stack->blocks[stack->count - 1].end = start + pages * PAGE;
        return;
    }
    if (stack->count == BLOCKS_MAX) {
        __builtin_trap();
    }
    stack->blocks[stack->count].start = start;
    stack->blocks[stack->count].end = start + pages * PAGE;
    stack->count += 1;
}

static void *stack_take(stack *stack, size_t bytes) {
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!stack->count) {
        stack_grow(stack, bytes);
        stack->next = stack->blocks[0].start;
    }
    while (stack->blocks[stack->current].end - stack->next < bytes) {
        if (stack->current + 1 == stack->count) {
            stack_grow(stack, bytes);
        }
        if (stack->blocks[stack->current].end - stack->next < bytes) {
            stack->current += 1;
            stack->next = stack->blocks[stack->current].start;
        }
    }
    void *taken = (void *)stack->next;
    stack->next += bytes;
    return taken;
}

/* Results of the last call have been read when anything new is asked for. */
static void begin(void) {
    if (call_ended) {
        call_ended = false;
        call_stack.current = 0;
        call_stack.next = call_stack.count ? call_stack.blocks[0].start : 0;
    }
}

void *rectool_allocate(size_t bytes) {
    return stack_take(&call_stack, bytes);
}

void *rectool_keep(size_t bytes) {
    return stack_take(&kept_stack, bytes);
}

rectool_string rectool_keep_string(rectool_string text) {
    char *copy = rectool_keep(text.length);
    __builtin_memcpy(copy, text.data, text.length);
    return (rectool_string){copy, text.length};
}

/* The host asks for the memory of arguments here, before each call. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_bytes,
                                                                size_t alignment, size_t bytes) {
    (void)alignment; /* never more than ALIGNMENT */
    begin();
    void *taken = rectool_allocate(bytes);
    if (old_bytes) {
        __builtin_memcpy(taken, old, old_bytes < bytes ? old_bytes : bytes);
    }
    return taken;
}

/* Called once per instance: constructors of C++ globals. Without it the linker would run them
 * before every call. */
extern void __wasm_call_ctors(void);
__attribute__((export_name("_initialize"))) void rectool_initialize(void) {
    __wasm_call_ctors();
}

/* Text */

rectool_string rectool_string_of(const char *text) {
    uint32_t length = 0;
    while (text[length]) {
        length += 1;
    }
    return (rectool_string){text, length};
}

bool rectool_string_equal(rectool_string text, const char *other) {
    for (uint32_t i = 0; i < text.length; i++) {
        if (text.data[i] != other[i]) { /* also ends at the zero of a shorter one */
            return false;
        }
    }
    return other[text.length] == 0;
}

uint32_t rectool_text_count(const rectool_texts *texts) {
    return texts->offsets.length - 1;
}

bool rectool_text_at(const rectool_texts *texts, uint32_t i, rectool_string *text) {
    uint32_t start = texts->offsets.data[i];
    text->data = (const char *)texts->bytes.data + start;
    text->length = texts->offsets.data[i + 1] - start;
    return !texts->validity.length || (texts->validity.data[i / 8] >> (i % 8) & 1);
}

rectool_floats rectool_float_values(const rectool_column *column) {
    switch (column->tag) {
    case RECTOOL_FLOATS:
        return column->floats;
    case RECTOOL_FLOAT_LISTS:
        return column->float_lists.values;
    default:
        return (rectool_floats){NULL, 0};
    }
}

rectool_ints rectool_int_values(const rectool_column *column) {
    switch (column->tag) {
    case RECTOOL_INTS:
        return column->ints;
    case RECTOOL_INT_LISTS:
        return column->int_lists.values;
    default:
        return (rectool_ints){NULL, 0};
    }
}

rectool_text_writer rectool_text_writer_new(uint32_t count, uint32_t bytes) {
    rectool_text_writer writer = {0};
    writer.texts.offsets.data = rectool_allocate((count + 1) * sizeof(uint32_t));
    writer.texts.offsets.data[0] = 0;
    writer.texts.offsets.length = 1;
    writer.texts.validity.length = (count + 7) / 8;
    writer.texts.validity.data = rectool_allocate(writer.texts.validity.length);
    __builtin_memset(writer.texts.validity.data, 0, writer.texts.validity.length);
    writer.texts.bytes.data = rectool_allocate(bytes);
    writer.bytes_capacity = bytes;
    return writer;
}

void rectool_text_writer_add_missing(rectool_text_writer *writer) {
    rectool_offsets *offsets = &writer->texts.offsets;
    offsets->data[offsets->length] = writer->texts.bytes.length;
    offsets->length += 1;
}

void rectool_text_writer_add(rectool_text_writer *writer, rectool_string text) {
    rectool_bytes *bytes = &writer->texts.bytes;
    if (bytes->length + text.length > writer->bytes_capacity) {
        uint32_t capacity = 2 * (bytes->length + text.length);
        uint8_t *larger = rectool_allocate(capacity);
        __builtin_memcpy(larger, bytes->data, bytes->length);
        bytes->data = larger;
        writer->bytes_capacity = capacity;
    }
    __builtin_memcpy(bytes->data + bytes->length, text.data, text.length);
    bytes->length += text.length;
    uint32_t i = writer->texts.offsets.length - 1;
    writer->texts.validity.data[i / 8] |= (uint8_t)(1 << (i % 8));
    rectool_text_writer_add_missing(writer);
}

/* Parameters */

const rectool_value *rectool_parameter_value(rectool_parameters parameters, const char *name) {
    for (uint32_t i = 0; i < parameters.length; i++) {
        if (rectool_string_equal(parameters.data[i].name, name)) {
            return &parameters.data[i].value;
        }
    }
    __builtin_trap();
}

static const rectool_value *typed(rectool_parameters parameters, const char *name, uint8_t tag) {
    const rectool_value *value = rectool_parameter_value(parameters, name);
    if (value->tag != tag) {
        __builtin_trap();
    }
    return value;
}

double rectool_number(rectool_parameters parameters, const char *name) {
    return typed(parameters, name, RECTOOL_NUMBER)->number;
}

int64_t rectool_integer(rectool_parameters parameters, const char *name) {
    return typed(parameters, name, RECTOOL_INTEGER)->integer;
}

bool rectool_boolean(rectool_parameters parameters, const char *name) {
    return typed(parameters, name, RECTOOL_BOOLEAN)->boolean;
}

rectool_string rectool_text(rectool_parameters parameters, const char *name) {
    return typed(parameters, name, RECTOOL_TEXT_VALUE)->text;
}

/* Faults */

bool rectool_refuse(rectool_fault *fault, const char *message, rectool_string subject) {
    rectool_string text = rectool_string_of(message);
    char *joined = rectool_allocate(text.length + subject.length + 3);
    __builtin_memcpy(joined, text.data, text.length);
    joined[text.length] = ' ';
    joined[text.length + 1] = '`';
    __builtin_memcpy(joined + text.length + 2, subject.data, subject.length);
    joined[text.length + 2 + subject.length] = '`';
    fault->message = (rectool_string){joined, text.length + subject.length + 3};
    fault->has_row = 0;
    return false;
}

bool rectool_refuse_row(rectool_fault *fault, const char *message, uint32_t row) {
    fault->message = rectool_string_of(message);
    fault->has_row = 1;
    fault->row = row;
    return false;
}

/* Random numbers: SplitMix64 (Steele, Lea, Flood 2014). */

uint64_t rectool_next(uint64_t *stream) {
    *stream += 0x9e3779b97f4a7c15u;
    uint64_t z = *stream;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t rectool_below(uint64_t *stream, uint64_t bound) {
    uint64_t uneven = (0 - bound) % bound; /* so many of the lowest would make some results likelier */
    uint64_t drawn = rectool_next(stream);
    while (drawn < uneven) {
        drawn = rectool_next(stream);
    }
    return drawn % bound;
}

double rectool_unit(uint64_t *stream) {
    return (double)(rectool_next(stream) >> 11) * 0x1p-53;
}

/* Calls: a result is a tag, 0 for success, and either the value or a fault. */

static rectool_fault no_fault(void) {
    return (rectool_fault){RECTOOL_STRING("refused without a reason"), 0, 0};
}

#define RESULT(type)                                                                               \
    struct {                                                                                       \
        uint8_t failed;                                                                            \
        union {                                                                                    \
            type value;                                                                            \
            rectool_fault fault;                                                                   \
        };                                                                                         \
    }

const void *rectool_call_describe(const rectool_description *description) {
    begin();
    call_ended = true;
    return description;
}

const void *rectool_call_transform_configure(rectool_transform_configure configure,
                                             rectool_parameters parameters,
                                             rectool_column_types inputs) {
    static RESULT(rectool_column_types) result;
    rectool_column_types outputs = {NULL, 0};
    rectool_fault fault = no_fault();
    begin();
    result.failed = !configure(parameters, inputs, &outputs, &fault);
    if (result.failed) {
        result.fault = fault;
    } else {
        result.value = outputs;
    }
    call_ended = true;
    return &result;
}

const void *rectool_call_transform_apply(rectool_transform_apply apply, uint32_t rows,
                                         rectool_columns columns) {
    static RESULT(rectool_columns) result;
    rectool_columns outputs = {NULL, 0};
    rectool_fault fault = no_fault();
    begin();
    result.failed = !apply(rows, columns, &outputs, &fault);
    if (result.failed) {
        result.fault = fault;
    } else {
        result.value = outputs;
    }
    call_ended = true;
    return &result;
}

const void *rectool_call_loss_configure(rectool_loss_configure configure,
                                        rectool_parameters parameters) {
    static RESULT(rectool_demands) result;
    rectool_demands demands = {RECTOOL_LOGIT, RECTOOL_LABELS_BINARY, {NULL, 0}};
    rectool_fault fault = no_fault();
    begin();
    result.failed = !configure(parameters, &demands, &fault);
    if (result.failed) {
        result.fault = fault;
    } else {
        result.value = demands;
    }
    call_ended = true;
    return &result;
}

static const void *fault_alone(bool done, rectool_fault fault) {
    static RESULT(uint32_t) result;
    result.failed = !done;
    if (!done) {
        result.fault = fault;
    }
    call_ended = true;
    return &result;
}

bool rectool_bind_any(rectool_column_types columns, rectool_fault *fault) {
    (void)columns;
    (void)fault;
    return true;
}

const void *rectool_call_loss_bind(rectool_loss_bind bind, rectool_column_types columns) {
    rectool_fault fault = no_fault();
    begin();
    bool done = bind(columns, &fault);
    return fault_alone(done, fault);
}

const void *rectool_call_loss_evaluate(rectool_loss_evaluate evaluate, rectool_floats logits,
                                       rectool_floats labels, rectool_floats weights,
                                       rectool_columns columns) {
    typedef struct {
        rectool_floats losses;
        rectool_floats gradients;
    } evaluation;
    static RESULT(evaluation) result;
    rectool_fault fault = no_fault();
    begin();
    rectool_loss_batch batch = {logits.length, logits.data, labels.data,
                                weights.length ? weights.data : NULL, columns};
    float *losses = rectool_allocate(logits.length * sizeof(float));
    float *gradients = rectool_allocate(logits.length * sizeof(float));
    result.failed = !evaluate(&batch, losses, gradients, &fault);
    if (result.failed) {
        result.fault = fault;
    } else {
        result.value = (evaluation){{losses, logits.length}, {gradients, logits.length}};
    }
    call_ended = true;
    return &result;
}

const void *rectool_call_sampler_configure(rectool_sampler_configure configure,
                                           rectool_parameters parameters, const rectool_items *items) {
    rectool_fault fault = no_fault();
    begin();
    bool done = configure(parameters, items, &fault);
    return fault_alone(done, fault);
}

const void *rectool_call_sampler_sample(rectool_sampler_sample sample, rectool_ints positives,
                                        uint32_t count, uint64_t seed) {
    typedef struct {
        rectool_ints ids;
        rectool_floats log_probabilities;
    } samples;
    static RESULT(samples) result;
    rectool_fault fault = no_fault();
    begin();
    if (count && positives.length > UINT32_MAX / 16 / count) {
        __builtin_trap();
    }
    uint32_t all = positives.length * count;
    int64_t *ids = rectool_allocate(all * sizeof(int64_t));
    float *log_probabilities = rectool_allocate(all * sizeof(float));
    result.failed = !sample(positives, count, seed, ids, log_probabilities, &fault);
    if (result.failed) {
        result.fault = fault;
    } else {
        result.value = (samples){{ids, all}, {log_probabilities, all}};
    }
    call_ended = true;
    return &result;
}
