"""{{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones."""

from math import exp, log1p

import rectool_plugin as rectool


class Plugin(rectool.Loss):
    name = "{{name}}"
    version = "0.1.0"
    summary = "binary cross-entropy with a weight for positive rows"
    parameters = [
        rectool.Parameter("positive_weight", "number", "how much a row with label 1 counts", default=1.0, min=0.0),
    ]

    def configure(self, parameters):
        """Called once: what a logit stands for, which labels and columns are needed."""
        self.positive_weight = parameters["positive_weight"]
        return rectool.Demands(prediction="logit", labels="binary")

    def evaluate(self, batch):
        """Called once per batch: the loss of each row, and its derivative by the row's logit."""
        losses, gradients = [], []
        weights = batch.weights or [1.0] * len(batch.logits)
        for x, label, weight in zip(batch.logits, batch.labels, weights):
            positive = weight * self.positive_weight * label
            negative = weight * (1.0 - label)
            e = exp(-abs(x))
            both = log1p(e)  # log(1 + exp(x)) is this, and x where x > 0
            chance = (e if x < 0.0 else 1.0) / (1.0 + e)
            losses.append(positive * (both + max(-x, 0.0)) + negative * (both + max(x, 0.0)))
            gradients.append((positive + negative) * chance - positive)
        return losses, gradients
