/* {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones. */
#include "rectool_math.h"
#include "rectool_plugin.h"

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("positive_weight"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(1.0),
        .min = RECTOOL_BOUND(0.0),
        .help = RECTOOL_STRING("how much a row with label 1 counts"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("binary cross-entropy with a weight for positive rows"),
    .parameters = RECTOOL_LIST(parameters),
};

static double positive_weight;

/* Called once: what a logit stands for, which labels and columns are needed. */
static bool configure(rectool_parameters given, rectool_demands *demands, rectool_fault *fault) {
    (void)fault;
    positive_weight = rectool_number(given, "positive_weight");
    demands->prediction = RECTOOL_LOGIT;
    demands->labels = RECTOOL_LABELS_BINARY;
    return true;
}

/* Called once per batch: the loss of each row, and its derivative by the row's logit. */
static bool evaluate(const rectool_loss_batch *batch, float *losses, float *gradients,
                     rectool_fault *fault) {
    (void)fault;
    for (uint32_t i = 0; i < batch->rows; i++) {
        double x = batch->logits[i];
        double positive = positive_weight * batch->labels[i];
        double negative = 1.0 - batch->labels[i];
        double weight = batch->weights ? batch->weights[i] : 1.0;
        double e = rectool_exp(-rectool_abs(x));
        double both = rectool_log1p(e); /* log(1 + exp(x)) is this, and x where x > 0 */
        double chance = (x < 0.0 ? e : 1.0) / (1.0 + e);
        double loss = positive * (both + rectool_max(-x, 0.0)) + negative * (both + rectool_max(x, 0.0));
        losses[i] = (float)(weight * loss);
        gradients[i] = (float)(weight * ((positive + negative) * chance - positive));
    }
    return true;
}

RECTOOL_LOSS(about, configure, rectool_bind_any, evaluate)
