"""The module that componentize-py turns into a sampler, around the plugin's class."""

from plugin import Plugin
from rectool_glue import description_of, parameters_from, refusing
from rectool_plugin import Items
from wit_world.exports import sampler

plugin = Plugin()


class About:
    def describe(self):
        return description_of(plugin)


class Sampler:
    def configure(self, parameters, items):
        known = Items(items.ids, items.counts, items.last_rows, items.scores)
        refusing(plugin.configure)(parameters_from(parameters), known)

    def sample(self, positives, count, seed):
        ids, log_probabilities = refusing(plugin.sample)(positives, count, seed)
        return sampler.Samples(ids, log_probabilities)
