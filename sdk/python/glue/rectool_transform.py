"""The module that componentize-py turns into a transform, around the plugin's class."""

from plugin import Plugin
from rectool_glue import column_from, column_to, description_of, parameters_from, refusing, type_from, type_to

plugin = Plugin()


class About:
    def describe(self):
        return description_of(plugin)


class Transform:
    def configure(self, parameters, inputs):
        outputs = refusing(plugin.configure)(parameters_from(parameters), [type_from(i) for i in inputs])
        return [type_to(output) for output in outputs]

    def apply(self, rows, columns):
        outputs = refusing(plugin.apply)(rows, [column_from(column) for column in columns])
        return [column_to(output) for output in outputs]
