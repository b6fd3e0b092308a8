"""Gives every column back, rebuilt through the binding, and sums over all parameters."""

import rectool_plugin as rectool


class Plugin(rectool.Transform):
    name = "echo"
    version = "1.0.0"
    summary = "gives columns back"
    parameters = [
        rectool.Parameter("flag", "boolean", "", default=True),
        rectool.Parameter("whole", "integer", "", default=-7, min=-10.0, max=10.0, unit="rows"),
        rectool.Parameter("number", "number", "", default=0.25),
        rectool.Parameter("word", "text", "", default="héllo", choices=["héllo", "x"]),
        rectool.Parameter("flags", "booleans", ""),
        rectool.Parameter("integers", "integers", ""),
        rectool.Parameter("numbers", "numbers", ""),
        rectool.Parameter("texts", "texts", ""),
    ]

    def configure(self, parameters, inputs):
        self.sums = [
            float(parameters["flag"]), float(parameters["whole"]), parameters["number"],
            float(len(parameters["word"].encode())), float(sum(parameters["flags"])),
            float(sum(parameters["integers"])), sum(parameters["numbers"]) + 0.0,
            float(sum(len(text.encode()) for text in parameters["texts"])),
        ]
        return [*inputs, rectool.ColumnType("sums", rectool.FLOAT32, width=8)]

    def apply(self, rows, columns):
        outputs = []
        for column in columns:
            if "refuse" in column.values:
                raise rectool.Refusal("not this text", column.values.index("refuse"))
            if column.offsets is None:
                outputs.append(column.replaced(list(column.values)))
            else:
                outputs.append(rectool.Column.of_rows(column.element, column.rows()))
        return [*outputs, rectool.Column(rectool.FLOAT32, self.sums * rows)]
