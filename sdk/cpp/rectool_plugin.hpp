// What a rectool plugin in C++ is written with: views, ranges and a class per kind over the C binding.
//
// No standard library is needed (none is there for bare Wasm), no exceptions, no run-time types.
// `../c/rectool_plugin.c` is compiled together with the plugin.
#ifndef RECTOOL_PLUGIN_HPP
#define RECTOOL_PLUGIN_HPP

#include "../c/rectool_math.h"
#include "../c/rectool_plugin.h"

// Placement new comes with <new>, which bare Wasm lacks.
inline void *operator new(size_t, void *place) noexcept {
    return place;
}

namespace rectool {

/// Values next to each other in memory, of some length.
template <typename T> class Span {
  public:
    Span() = default;
    Span(T *data, uint32_t size) : data_(data), size_(size) {}

    T *data() const { return data_; }
    uint32_t size() const { return size_; }
    T &operator[](uint32_t i) const { return data_[i]; }
    T *begin() const { return data_; }
    T *end() const { return data_ + size_; }
    Span part(uint32_t start, uint32_t end) const { return {data_ + start, end - start}; }

  private:
    T *data_ = nullptr;
    uint32_t size_ = 0;
};

/// UTF-8 text; `missing` where a column has none.
struct Text : rectool_string {
    bool missing = false;

    Text(const char *literal) : rectool_string(rectool_string_of(literal)) {}
    Text(rectool_string text, bool is_missing = false)
        : rectool_string(text), missing(is_missing) {}

    bool operator==(const char *other) const { return rectool_string_equal(*this, other); }
    bool operator!=(const char *other) const { return !(*this == other); }
};

/// Packed texts: `for (Text text : column.texts())`.
class Texts {
  public:
    explicit Texts(const rectool_texts *texts) : texts_(texts) {}

    uint32_t size() const { return rectool_text_count(texts_); }
    Text operator[](uint32_t i) const {
        rectool_string text;
        bool there = rectool_text_at(texts_, i, &text);
        return {text, !there};
    }

    struct Iterator {
        const Texts *texts;
        uint32_t i;
        Text operator*() const { return (*texts)[i]; }
        void operator++() { i += 1; }
        bool operator!=(const Iterator &other) const { return i != other.i; }
    };
    Iterator begin() const { return {this, 0}; }
    Iterator end() const { return {this, size()}; }

  private:
    const rectool_texts *texts_;
};

/// A column of a batch. Floats and ids may be changed in place.
struct Column : rectool_column {
    /// All floats, row after row, of a fixed or a jagged column.
    Span<float> floats() const {
        rectool_floats values = rectool_float_values(this);
        return {values.data, values.length};
    }
    /// All ids, row after row, of a fixed or a jagged column.
    Span<int64_t> ids() const {
        rectool_ints values = rectool_int_values(this);
        return {values.data, values.length};
    }
    /// All texts, row after row, of a fixed or a jagged column.
    Texts texts() const {
        return Texts(tag == RECTOOL_TEXT_LISTS ? &text_lists.values : &this->rectool_column::texts);
    }
    /// For jagged columns: row `i` is the values from `offsets()[i]` to `offsets()[i + 1]`.
    Span<uint32_t> offsets() const {
        // The three kinds of lists begin with their offsets.
        return {float_lists.offsets.data, float_lists.offsets.length};
    }

    static Column of(Span<float> values) {
        Column column;
        column.tag = RECTOOL_FLOATS;
        column.rectool_column::floats = {values.data(), values.size()};
        return column;
    }
    static Column of(Span<int64_t> values) {
        Column column;
        column.tag = RECTOOL_INTS;
        column.rectool_column::ints = {values.data(), values.size()};
        return column;
    }
    static Column of(Span<uint32_t> offsets, Span<float> values) {
        Column column;
        column.tag = RECTOOL_FLOAT_LISTS;
        column.float_lists = {{offsets.data(), offsets.size()}, {values.data(), values.size()}};
        return column;
    }
    static Column of(Span<uint32_t> offsets, Span<int64_t> values) {
        Column column;
        column.tag = RECTOOL_INT_LISTS;
        column.int_lists = {{offsets.data(), offsets.size()}, {values.data(), values.size()}};
        return column;
    }
    static Column of(const rectool_text_writer &writer) {
        Column column;
        column.tag = RECTOOL_TEXTS;
        column.rectool_column::texts = writer.texts;
        return column;
    }
    static Column of(Span<uint32_t> offsets, const rectool_text_writer &writer) {
        Column column;
        column.tag = RECTOOL_TEXT_LISTS;
        column.text_lists = {{offsets.data(), offsets.size()}, writer.texts};
        return column;
    }
};
static_assert(sizeof(Column) == sizeof(rectool_column), "a column is what the contract says");

/// A column's name and type.
struct ColumnType : rectool_column_type {
    bool is_float() const { return element == RECTOOL_FLOAT32; }
    bool is_id() const { return element == RECTOOL_INT64; }
    bool is_text() const { return element == RECTOOL_TEXT; }
};
static_assert(sizeof(ColumnType) == sizeof(rectool_column_type), "as the contract says");

/// Values for the time of a call.
template <typename T> Span<T> allocate(uint32_t size) {
    return {static_cast<T *>(rectool_allocate(size * sizeof(T))), size};
}

/// Values for the life of the instance.
template <typename T> Span<T> keep(uint32_t size) {
    return {static_cast<T *>(rectool_keep(size * sizeof(T))), size};
}

/// What the recipe says, or the defaults.
class Parameters {
  public:
    explicit Parameters(rectool_parameters parameters) : parameters_(parameters) {}

    double number(const char *name) const { return rectool_number(parameters_, name); }
    int64_t integer(const char *name) const { return rectool_integer(parameters_, name); }
    bool boolean(const char *name) const { return rectool_boolean(parameters_, name); }
    Text text(const char *name) const { return rectool_text(parameters_, name); }
    Span<const double> numbers(const char *name) const {
        const rectool_value *value = rectool_parameter_value(parameters_, name);
        return {value->numbers.data, value->numbers.length};
    }
    Span<int64_t> integers(const char *name) const {
        const rectool_value *value = rectool_parameter_value(parameters_, name);
        return {value->integers.data, value->integers.length};
    }
    Span<uint8_t> booleans(const char *name) const {
        const rectool_value *value = rectool_parameter_value(parameters_, name);
        return {value->booleans.data, value->booleans.length};
    }
    Span<rectool_string> texts(const char *name) const {
        const rectool_value *value = rectool_parameter_value(parameters_, name);
        return {value->texts.data, value->texts.length};
    }

  private:
    rectool_parameters parameters_;
};

/// Why a call is refused; `return fault.refuse("message", name);` from a function that gives bool.
struct Fault : rectool_fault {
    bool refuse(const char *message, Text subject) { return rectool_refuse(this, message, subject); }
    bool refuse_row(const char *message, uint32_t row) {
        return rectool_refuse_row(this, message, row);
    }
};

/// The only instance of the plugin's class, made by `configure` in memory that stays.
template <typename P> P *&instance() {
    static P *made = nullptr;
    return made;
}

/// A transform: `bool configure(Parameters, Span<ColumnType> inputs, Span<ColumnType> &outputs,
/// Fault &)` and `bool apply(uint32_t rows, Span<Column> inputs, Span<Column> &outputs, Fault &)`.
template <typename P>
bool transform_configure(rectool_parameters parameters, rectool_column_types inputs,
                         rectool_column_types *outputs, rectool_fault *fault) {
    instance<P>() = new (rectool_keep(sizeof(P))) P();
    Span<ColumnType> given{static_cast<ColumnType *>(inputs.data), inputs.length};
    Span<ColumnType> made;
    bool done = instance<P>()->configure(Parameters(parameters), given, made,
                                         *static_cast<Fault *>(fault));
    *outputs = {made.data(), made.size()};
    return done;
}

template <typename P>
bool transform_apply(uint32_t rows, rectool_columns inputs, rectool_columns *outputs,
                     rectool_fault *fault) {
    Span<Column> given{static_cast<Column *>(inputs.data), inputs.length};
    Span<Column> made;
    bool done = instance<P>()->apply(rows, given, made, *static_cast<Fault *>(fault));
    *outputs = {made.data(), made.size()};
    return done;
}

/// A loss: `bool configure(Parameters, rectool_demands &, Fault &)`, `bool bind(Span<ColumnType>,
/// Fault &)` and `bool evaluate(const rectool_loss_batch &, Span<float> losses, Span<float>
/// gradients, Fault &)`.
template <typename P>
bool loss_configure(rectool_parameters parameters, rectool_demands *demands, rectool_fault *fault) {
    instance<P>() = new (rectool_keep(sizeof(P))) P();
    return instance<P>()->configure(Parameters(parameters), *demands, *static_cast<Fault *>(fault));
}

template <typename P> bool loss_bind(rectool_column_types columns, rectool_fault *fault) {
    Span<ColumnType> types{static_cast<ColumnType *>(columns.data), columns.length};
    return instance<P>()->bind(types, *static_cast<Fault *>(fault));
}

template <typename P>
bool loss_evaluate(const rectool_loss_batch *batch, float *losses, float *gradients,
                   rectool_fault *fault) {
    return instance<P>()->evaluate(*batch, {losses, batch->rows}, {gradients, batch->rows},
                                   *static_cast<Fault *>(fault));
}

/// A sampler: `bool configure(Parameters, const rectool_items &, Fault &)` and `bool sample(
/// Span<int64_t> positives, uint32_t count, uint64_t seed, Span<int64_t> ids, Span<float>
/// log_probabilities, Fault &)`.
template <typename P>
bool sampler_configure(rectool_parameters parameters, const rectool_items *items,
                       rectool_fault *fault) {
    instance<P>() = new (rectool_keep(sizeof(P))) P();
    return instance<P>()->configure(Parameters(parameters), *items, *static_cast<Fault *>(fault));
}

template <typename P>
bool sampler_sample(rectool_ints positives, uint32_t count, uint64_t seed, int64_t *ids,
                    float *log_probabilities, rectool_fault *fault) {
    uint32_t all = positives.length * count;
    return instance<P>()->sample({positives.data, positives.length}, count, seed, {ids, all},
                                 {log_probabilities, all}, *static_cast<Fault *>(fault));
}

} // namespace rectool

/// Each plugin uses one of these three, once, outside of any function.
#define RECTOOL_TRANSFORM_CLASS(description, P)                                                    \
    RECTOOL_TRANSFORM(description, rectool::transform_configure<P>, rectool::transform_apply<P>)
#define RECTOOL_LOSS_CLASS(description, P)                                                         \
    RECTOOL_LOSS(description, rectool::loss_configure<P>, rectool::loss_bind<P>,                   \
                 rectool::loss_evaluate<P>)
#define RECTOOL_SAMPLER_CLASS(description, P)                                                      \
    RECTOOL_SAMPLER(description, rectool::sampler_configure<P>, rectool::sampler_sample<P>)

#endif
