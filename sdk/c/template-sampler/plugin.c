/* {{name}}: draws each item as often as a power of its count says. */
#include "rectool_math.h"
#include "rectool_plugin.h"

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("power"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(0.75),
        .min = RECTOOL_BOUND(0.0),
        .max = RECTOOL_BOUND(1.0),
        .help = RECTOOL_STRING("0: every item alike; 1: as often as in the training data"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("draws items by a power of their counts"),
    .parameters = RECTOOL_LIST(parameters),
};

static uint32_t items_count;
static int64_t *ids;
static double *sums; /* of the weights of all items up to each */

/* Called once: the items belong to the call, so what `sample` needs is copied. */
static bool configure(rectool_parameters given, const rectool_items *items, rectool_fault *fault) {
    double power = rectool_number(given, "power");
    if (items->ids.length == 0) {
        return rectool_refuse(fault, "there are no items for", about.name);
    }
    items_count = items->ids.length;
    ids = rectool_keep(items_count * sizeof(int64_t));
    sums = rectool_keep(items_count * sizeof(double));
    double sum = 0.0;
    for (uint32_t i = 0; i < items_count; i++) {
        sum += rectool_exp(power * rectool_log((double)items->counts.data[i]));
        ids[i] = items->ids.data[i];
        sums[i] = sum;
    }
    return true;
}

/* The first item whose sum is above `point`. */
static uint32_t find(double point) {
    uint32_t low = 0;
    uint32_t high = items_count - 1;
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

/* Called once per batch. Drawn with replacement; the positive itself may be drawn. */
static bool sample(rectool_ints positives, uint32_t count, uint64_t seed, int64_t *drawn,
                   float *log_probabilities, rectool_fault *fault) {
    (void)fault;
    uint64_t stream = seed;
    double total = sums[items_count - 1];
    for (uint32_t i = 0; i < positives.length * count; i++) {
        uint32_t item = find(rectool_unit(&stream) * total);
        double weight = sums[item] - (item ? sums[item - 1] : 0.0);
        drawn[i] = ids[item];
        log_probabilities[i] = (float)rectool_log(weight / total);
    }
    return true;
}

RECTOOL_SAMPLER(about, configure, sample)
