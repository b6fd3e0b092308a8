//! Gives every column back, rebuilt through the binding, and sums over all parameters.
const std = @import("std");
const rectool = @import("rectool");

const Plugin = struct {
    sums: [8]f32 = @splat(0),

    pub const about = rectool.Description{
        .name = "echo",
        .version = "1.0.0",
        .summary = "gives columns back",
        .parameters = &.{
            .{ .name = "flag", .type = .boolean, .initial = .{ .boolean = true }, .help = "" },
            .{ .name = "whole", .type = .integer, .initial = .{ .integer = -7 }, .min = -10, .max = 10, .unit = "rows", .help = "" },
            .{ .name = "number", .type = .number, .initial = .{ .number = 0.25 }, .help = "" },
            .{ .name = "word", .type = .text, .initial = .{ .text = "héllo" }, .choices = &.{ "héllo", "x" }, .help = "" },
            .{ .name = "flags", .type = .booleans, .help = "" },
            .{ .name = "integers", .type = .integers, .help = "" },
            .{ .name = "numbers", .type = .numbers, .help = "" },
            .{ .name = "texts", .type = .texts, .help = "" },
        },
    };

    pub fn configure(self: *Plugin, parameters: rectool.Parameters, inputs: []rectool.ColumnType, call: *rectool.Call) rectool.Refused![]rectool.ColumnType {
        var totals: [4]f64 = @splat(0);
        for (parameters.booleans("flags")) |flag| totals[0] += if (flag) 1 else 0;
        for (parameters.integers("integers")) |value| totals[1] += @floatFromInt(value);
        for (parameters.numbers("numbers")) |value| totals[2] += value;
        for (parameters.texts("texts")) |text| totals[3] += @floatFromInt(text.slice().len);
        self.sums = .{
            if (parameters.boolean("flag")) 1 else 0,
            @floatFromInt(parameters.integer("whole")),
            @floatCast(parameters.number("number")),
            @floatFromInt(parameters.text("word").len),
            @floatCast(totals[0]),
            @floatCast(totals[1]),
            @floatCast(totals[2]),
            @floatCast(totals[3]),
        };
        const outputs = call.allocate(rectool.ColumnType, inputs.len + 1);
        @memcpy(outputs[0..inputs.len], inputs);
        outputs[inputs.len] = .single("sums", .float32);
        outputs[inputs.len].shape.width = 8;
        return outputs;
    }

    fn rebuild(texts: rectool.Texts, call: *rectool.Call) rectool.Refused!rectool.Texts {
        const list = call.allocate(?[]const u8, texts.count());
        for (list, 0..) |*text, i| {
            text.* = texts.at(i);
            if (text.*) |there| {
                if (std.mem.eql(u8, there, "refuse")) return call.refuseRow(i, "not {s} text", .{"this"});
            }
        }
        return .pack(call, list);
    }

    pub fn apply(self: *Plugin, rows: usize, columns: []rectool.Column, call: *rectool.Call) rectool.Refused![]rectool.Column {
        const outputs = call.allocate(rectool.Column, columns.len + 1);
        for (outputs[0..columns.len], columns) |*output, *column| output.* = switch (column.tag) {
            .floats => .ofFloats(column.floats()),
            .ints => .ofIds(column.ids()),
            .texts => .ofTexts(try rebuild(column.texts(), call)),
            .float_lists => .ofFloatLists(column.offsets(), column.floats()),
            .int_lists => .ofIdLists(column.offsets(), column.ids()),
            .text_lists => .ofTextLists(column.offsets(), try rebuild(column.texts(), call)),
        };
        const values = call.allocate(f32, rows * 8);
        for (values, 0..) |*value, i| value.* = self.sums[i % 8];
        outputs[columns.len] = .ofFloats(values);
        return outputs;
    }
};

comptime {
    rectool.exportTransform(Plugin);
}
