"""{{name}}: multiplies float columns by a factor."""

import rectool_plugin as rectool


class Plugin(rectool.Transform):
    name = "{{name}}"
    version = "0.1.0"
    summary = "multiplies float columns by a factor"
    parameters = [
        rectool.Parameter("factor", "number", "what each value is multiplied by", default=1.0),
    ]

    def configure(self, parameters, inputs):
        """Called once: takes the parameters and the types of the columns, says which come out."""
        self.factor = parameters["factor"]
        for column in inputs:
            if column.element != rectool.FLOAT32:
                raise rectool.Refusal(
                    f"column `{column.name}` holds {column.element} values; expected float32")
        return inputs  # the same names and types: the columns take their inputs' places

    def apply(self, rows, columns):
        """Called once per batch. A missing value is NaN, and stays one."""
        factor = self.factor
        return [column.replaced([value * factor for value in column.values]) for column in columns]
