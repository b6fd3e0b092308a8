//! {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones.
const std = @import("std");
const rectool = @import("rectool");

const Plugin = struct {
    positive_weight: f64 = 1.0,

    pub const about = rectool.Description{
        .name = "{{name}}",
        .version = "0.1.0",
        .summary = "binary cross-entropy with a weight for positive rows",
        .parameters = &.{
            .{ .name = "positive_weight", .type = .number, .initial = .{ .number = 1.0 }, .min = 0.0, .help = "how much a row with label 1 counts" },
        },
    };

    /// Called once: what a logit stands for, which labels and columns are needed.
    pub fn configure(self: *Plugin, parameters: rectool.Parameters, _: *rectool.Call) rectool.Refused!rectool.Demands {
        self.positive_weight = parameters.number("positive_weight");
        return .{ .prediction = .logit, .labels = .binary };
    }

    /// Called once per batch: the loss of each row, and its derivative by the row's logit.
    pub fn evaluate(self: *Plugin, batch: rectool.LossBatch, losses: []f32, gradients: []f32, _: *rectool.Call) rectool.Refused!void {
        for (batch.logits, batch.labels, losses, gradients, 0..) |logit, label, *loss, *gradient, i| {
            const weight: f64 = if (batch.weights) |weights| weights[i] else 1.0;
            const positive = weight * self.positive_weight * label;
            const negative = weight * (1.0 - label);
            const x: f64 = logit;
            const e = @exp(-@abs(x));
            const both = std.math.log1p(e); // log(1 + exp(x)) is this, and x where x > 0
            const chance = (if (x < 0.0) e else 1.0) / (1.0 + e);
            loss.* = @floatCast(positive * (both + @max(-x, 0.0)) + negative * (both + @max(x, 0.0)));
            gradient.* = @floatCast((positive + negative) * chance - positive);
        }
    }
};

comptime {
    rectool.exportLoss(Plugin);
}
