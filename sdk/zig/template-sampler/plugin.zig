//! {{name}}: draws each item as often as a power of its count says.
const std = @import("std");
const rectool = @import("rectool");

const Plugin = struct {
    ids: []i64 = &.{},
    /// Of the weights of all items up to each.
    sums: []f64 = &.{},

    pub const about = rectool.Description{
        .name = "{{name}}",
        .version = "0.1.0",
        .summary = "draws items by a power of their counts",
        .parameters = &.{
            .{ .name = "power", .type = .number, .initial = .{ .number = 0.75 }, .min = 0.0, .max = 1.0, .help = "0: every item alike; 1: as often as in the training data" },
        },
    };

    /// Called once: the items belong to the call, so what `sample` needs is copied.
    pub fn configure(self: *Plugin, parameters: rectool.Parameters, items: rectool.Items, call: *rectool.Call) rectool.Refused!void {
        if (items.ids.len == 0) return call.refuse("there are no items to draw from", .{});
        const power = parameters.number("power");
        self.ids = rectool.keep(i64, items.ids.len);
        self.sums = rectool.keep(f64, items.ids.len);
        @memcpy(self.ids, items.ids);
        var sum: f64 = 0.0;
        for (self.sums, items.counts) |*entry, count| {
            sum += std.math.pow(f64, @floatFromInt(count), power);
            entry.* = sum;
        }
    }

    /// Called once per batch. Drawn with replacement; the positive itself may be drawn.
    pub fn sample(self: *Plugin, _: []const i64, _: usize, seed: u64, ids: []i64, log_probabilities: []f32, _: *rectool.Call) rectool.Refused!void {
        var stream = std.Random.SplitMix64.init(seed);
        const total = self.sums[self.sums.len - 1];
        for (ids, log_probabilities) |*id, *log_probability| {
            const unit = @as(f64, @floatFromInt(stream.next() >> 11)) * 0x1p-53;
            const item = self.find(unit * total);
            const weight = self.sums[item] - (if (item > 0) self.sums[item - 1] else 0.0);
            id.* = self.ids[item];
            log_probability.* = @floatCast(@log(weight / total));
        }
    }

    /// The first item whose sum is above `point`.
    fn find(self: *const Plugin, point: f64) usize {
        var low: usize = 0;
        var high = self.sums.len - 1;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (self.sums[middle] > point) high = middle else low = middle + 1;
        }
        return low;
    }
};

comptime {
    rectool.exportSampler(Plugin);
}
