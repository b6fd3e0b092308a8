// {{name}}: draws each item as often as a power of its count says.
#include "rectool_plugin.hpp"

using rectool::Fault;
using rectool::Parameters;
using rectool::Span;

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("power"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(0.75),
        .min = RECTOOL_BOUND(0.0),
        .max = RECTOOL_BOUND(1.0),
        .choices = {},
        .unit = {},
        .help = RECTOOL_STRING("0: every item alike; 1: as often as in the training data"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("draws items by a power of their counts"),
    .parameters = RECTOOL_LIST(parameters),
};

class Plugin {
  public:
    // Called once: the items belong to the call, so what `sample` needs is copied.
    bool configure(Parameters given, const rectool_items &items, Fault &fault) {
        double power = given.number("power");
        if (items.ids.length == 0) {
            return fault.refuse("there are no items for", about.name);
        }
        ids = rectool::keep<int64_t>(items.ids.length);
        sums = rectool::keep<double>(items.ids.length);
        double sum = 0.0;
        for (uint32_t i = 0; i < ids.size(); i++) {
            sum += rectool_exp(power * rectool_log(static_cast<double>(items.counts.data[i])));
            ids[i] = items.ids.data[i];
            sums[i] = sum;
        }
        return true;
    }

    // Called once per batch. Drawn with replacement; the positive itself may be drawn.
    bool sample(Span<int64_t>, uint32_t, uint64_t seed, Span<int64_t> drawn,
                Span<float> log_probabilities, Fault &) {
        uint64_t stream = seed;
        double total = sums[sums.size() - 1];
        for (uint32_t i = 0; i < drawn.size(); i++) {
            uint32_t item = find(rectool_unit(&stream) * total);
            double weight = sums[item] - (item ? sums[item - 1] : 0.0);
            drawn[i] = ids[item];
            log_probabilities[i] = static_cast<float>(rectool_log(weight / total));
        }
        return true;
    }

  private:
    // The first item whose sum is above `point`.
    uint32_t find(double point) const {
        uint32_t low = 0;
        uint32_t high = sums.size() - 1;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (sums[middle] > point) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low;
    }

    Span<int64_t> ids;
    Span<double> sums; // of the weights of all items up to each
};

RECTOOL_SAMPLER_CLASS(about, Plugin)
