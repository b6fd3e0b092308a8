// {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones.
#include "rectool_plugin.hpp"

using rectool::ColumnType;
using rectool::Fault;
using rectool::Parameters;
using rectool::Span;

static const rectool_parameter_type parameters[] = {
    {
        .name = RECTOOL_STRING("positive_weight"),
        .type = RECTOOL_NUMBER,
        .initial = RECTOOL_INITIAL_NUMBER(1.0),
        .min = RECTOOL_BOUND(0.0),
        .max = {},
        .choices = {},
        .unit = {},
        .help = RECTOOL_STRING("how much a row with label 1 counts"),
    },
};

static const rectool_description about = {
    .name = RECTOOL_STRING("{{name}}"),
    .version = RECTOOL_STRING("0.1.0"),
    .summary = RECTOOL_STRING("binary cross-entropy with a weight for positive rows"),
    .parameters = RECTOOL_LIST(parameters),
};

class Plugin {
  public:
    // Called once: what a logit stands for, which labels and columns are needed.
    bool configure(Parameters given, rectool_demands &demands, Fault &) {
        positive_weight = given.number("positive_weight");
        demands.prediction = RECTOOL_LOGIT;
        demands.labels = RECTOOL_LABELS_BINARY;
        return true;
    }

    // Called once with the types of the columns that `configure` asked for: none here.
    bool bind(Span<ColumnType>, Fault &) { return true; }

    // Called once per batch: the loss of each row, and its derivative by the row's logit.
    bool evaluate(const rectool_loss_batch &batch, Span<float> losses, Span<float> gradients,
                  Fault &) {
        for (uint32_t i = 0; i < batch.rows; i++) {
            double x = batch.logits[i];
            double positive = positive_weight * batch.labels[i];
            double negative = 1.0 - batch.labels[i];
            double weight = batch.weights ? batch.weights[i] : 1.0;
            double e = rectool_exp(-rectool_abs(x));
            double both = rectool_log1p(e); // log(1 + exp(x)) is this, and x where x > 0
            double chance = (x < 0.0 ? e : 1.0) / (1.0 + e);
            double loss = positive * (both + rectool_max(-x, 0.0)) + negative * (both + rectool_max(x, 0.0));
            losses[i] = static_cast<float>(weight * loss);
            gradients[i] = static_cast<float>(weight * ((positive + negative) * chance - positive));
        }
        return true;
    }

  private:
    double positive_weight = 1.0;
};

RECTOOL_LOSS_CLASS(about, Plugin)
