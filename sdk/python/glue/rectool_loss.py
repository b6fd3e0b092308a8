"""The module that componentize-py turns into a loss, around the plugin's class."""

from plugin import Plugin
from rectool_glue import column_from, description_of, parameters_from, refusing, type_from
from rectool_plugin import LossBatch
from wit_world.exports import objective

plugin = Plugin()


class About:
    def describe(self):
        return description_of(plugin)


def named(enumeration, name: str):
    return enumeration[name.upper().replace("-", "_")]


class Objective:
    def configure(self, parameters):
        demands = refusing(plugin.configure)(parameters_from(parameters))
        return objective.Demands(
            named(objective.Prediction, demands.prediction),
            named(objective.Labels, demands.labels),
            list(demands.columns),
        )

    def bind(self, columns):
        refusing(plugin.bind)([type_from(column) for column in columns])

    def evaluate(self, logits, labels, weights, columns):
        batch = LossBatch(logits, labels, weights or None, [column_from(column) for column in columns])
        losses, gradients = refusing(plugin.evaluate)(batch)
        return objective.Evaluation(losses, gradients)
