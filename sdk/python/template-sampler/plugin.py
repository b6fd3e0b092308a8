"""{{name}}: draws each item as often as a power of its count says."""

from bisect import bisect_right
from itertools import accumulate
from math import log
from random import Random

import rectool_plugin as rectool


class Plugin(rectool.Sampler):
    name = "{{name}}"
    version = "0.1.0"
    summary = "draws items by a power of their counts"
    parameters = [
        rectool.Parameter("power", "number", "0: every item alike; 1: as often as in the training data",
                          default=0.75, min=0.0, max=1.0),
    ]

    def configure(self, parameters, items):
        """Called once with what is known of the items."""
        if not items.ids:
            raise rectool.Refusal("there are no items to draw from")
        weights = [count ** parameters["power"] for count in items.counts]
        self.ids = items.ids
        self.sums = list(accumulate(weights))
        self.log_probabilities = [log(weight / self.sums[-1]) for weight in weights]

    def sample(self, positives, count, seed):
        """Called once per batch. Drawn with replacement; the positive itself may be drawn."""
        random = Random(seed)
        last = len(self.ids) - 1
        total = self.sums[-1]
        drawn = [min(bisect_right(self.sums, random.random() * total), last)
                 for _ in range(len(positives) * count)]
        return [self.ids[item] for item in drawn], [self.log_probabilities[item] for item in drawn]
