//! {{name}}: multiplies float columns by a factor.
const rectool = @import("rectool");

const Plugin = struct {
    factor: f32 = 1.0,

    pub const about = rectool.Description{
        .name = "{{name}}",
        .version = "0.1.0",
        .summary = "multiplies float columns by a factor",
        .parameters = &.{
            .{ .name = "factor", .type = .number, .initial = .{ .number = 1.0 }, .help = "what each value is multiplied by" },
        },
    };

    /// Called once: takes the parameters and the types of the columns, says which columns come out.
    pub fn configure(self: *Plugin, parameters: rectool.Parameters, inputs: []rectool.ColumnType, call: *rectool.Call) rectool.Refused![]rectool.ColumnType {
        self.factor = @floatCast(parameters.number("factor"));
        for (inputs) |input| {
            if (input.element != .float32) {
                return call.refuse("column `{s}` holds {s} values; expected float32", .{ input.name.slice(), @tagName(input.element) });
            }
        }
        return inputs; // the same names and types: the columns take their inputs' places
    }

    /// Called once per batch. A missing value is NaN, and stays one.
    pub fn apply(self: *Plugin, _: usize, columns: []rectool.Column, _: *rectool.Call) rectool.Refused![]rectool.Column {
        for (columns) |*column| {
            for (column.floats()) |*value| value.* *= self.factor; // fixed or jagged
        }
        return columns;
    }
};

comptime {
    rectool.exportTransform(Plugin);
}
