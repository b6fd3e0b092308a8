//! What a rectool plugin in Zig is written with.
//!
//! A plugin is a struct with a public `about` and the functions of its kind; `exportTransform`,
//! `exportLoss` or `exportSampler` make it the plugin. The columns it gets lie in memory exactly as
//! the component model passes them, so nothing is converted, and it may change them in place.
const std = @import("std");

/// What a function returns after `call.refuse`.
pub const Refused = error{Refused};

/// A list as the component model passes it. Nothing lies at null: the pointer of an empty slice may
/// lie outside of memory, which the host refuses.
pub fn List(comptime T: type) type {
    return extern struct {
        data: ?[*]T = null,
        length: u32 = 0,

        const Self = @This();

        pub fn of(values: []T) Self {
            return .{ .data = if (values.len > 0) values.ptr else null, .length = @intCast(values.len) };
        }

        pub fn slice(self: Self) []T {
            return if (self.data) |data| data[0..self.length] else &.{};
        }
    };
}

/// A list of constants.
fn Constants(comptime T: type) type {
    return extern struct {
        data: ?[*]const T = null,
        length: u32 = 0,

        const Self = @This();

        fn of(values: []const T) Self {
            return .{ .data = if (values.len > 0) values.ptr else null, .length = @intCast(values.len) };
        }

        pub fn slice(self: Self) []const T {
            return if (self.data) |data| data[0..self.length] else &.{};
        }
    };
}

const RawText = Constants(u8);

/// A missing id. A missing float is NaN.
pub const missing_id: i64 = -1;

pub const Element = enum(u8) { float32, int64, text };

/// A column's name and type.
pub const ColumnType = extern struct {
    name: RawText,
    element: Element,
    shape: extern struct {
        /// Any number of values in a row.
        jagged: bool,
        /// Values in each row, unless jagged.
        width: u32 = 0,
    },
    /// Names of the values of a packed column, or none.
    members: Constants(RawText) = .{},

    /// A column of one value per row.
    pub fn single(column_name: []const u8, element: Element) ColumnType {
        return .{ .name = .of(column_name), .element = element, .shape = .{ .jagged = false, .width = 1 } };
    }
};

/// Texts one after the other.
pub const Texts = extern struct {
    offsets: List(u32) = .{},
    bytes: List(u8) = .{},
    validity: List(u8) = .{},

    pub fn count(self: Texts) usize {
        return self.offsets.length - 1;
    }

    /// Text `i`, or null where it is missing.
    pub fn at(self: Texts, i: usize) ?[]const u8 {
        const validity = self.validity.slice();
        if (validity.len > 0 and validity[i / 8] >> @intCast(i % 8) & 1 == 0) return null;
        const offsets = self.offsets.slice();
        return self.bytes.slice()[offsets[i]..offsets[i + 1]];
    }

    /// Packs texts; null is a missing one.
    pub fn pack(call: *Call, texts: []const ?[]const u8) Texts {
        var total: usize = 0;
        for (texts) |text| total += if (text) |there| there.len else 0;
        const offsets = call.allocate(u32, texts.len + 1);
        const bytes = call.allocate(u8, total);
        const validity = call.allocate(u8, (texts.len + 7) / 8);
        @memset(validity, 0);
        offsets[0] = 0;
        var end: u32 = 0;
        for (texts, 0..) |text, i| {
            if (text) |there| {
                @memcpy(bytes[end..][0..there.len], there);
                end += @intCast(there.len);
                validity[i / 8] |= @as(u8, 1) << @intCast(i % 8);
            }
            offsets[i + 1] = end;
        }
        return .{ .offsets = .of(offsets), .bytes = .of(bytes), .validity = .of(validity) };
    }
};

/// Row `i` of a jagged column is `values[offsets[i]..offsets[i + 1]]`.
fn Lists(comptime Values: type) type {
    return extern struct { offsets: List(u32), values: Values };
}

/// The values of a column.
pub const Column = extern struct {
    tag: enum(u8) { floats, ints, texts, float_lists, int_lists, text_lists },
    as: extern union {
        floats: List(f32),
        ints: List(i64),
        texts: Texts,
        float_lists: Lists(List(f32)),
        int_lists: Lists(List(i64)),
        text_lists: Lists(Texts),
    },

    /// All floats, row after row, of a fixed or a jagged column.
    pub fn floats(self: *const Column) []f32 {
        return switch (self.tag) {
            .floats => self.as.floats.slice(),
            .float_lists => self.as.float_lists.values.slice(),
            else => @panic("not a float column"),
        };
    }

    /// All ids, row after row, of a fixed or a jagged column.
    pub fn ids(self: *const Column) []i64 {
        return switch (self.tag) {
            .ints => self.as.ints.slice(),
            .int_lists => self.as.int_lists.values.slice(),
            else => @panic("not an id column"),
        };
    }

    /// All texts, row after row, of a fixed or a jagged column.
    pub fn texts(self: *const Column) Texts {
        return switch (self.tag) {
            .texts => self.as.texts,
            .text_lists => self.as.text_lists.values,
            else => @panic("not a text column"),
        };
    }

    /// Of a jagged column: one more than rows.
    pub fn offsets(self: *const Column) []u32 {
        return switch (self.tag) {
            .float_lists => self.as.float_lists.offsets.slice(),
            .int_lists => self.as.int_lists.offsets.slice(),
            .text_lists => self.as.text_lists.offsets.slice(),
            else => @panic("not a jagged column"),
        };
    }

    pub fn ofFloats(values: []f32) Column {
        return .{ .tag = .floats, .as = .{ .floats = .of(values) } };
    }

    pub fn ofIds(values: []i64) Column {
        return .{ .tag = .ints, .as = .{ .ints = .of(values) } };
    }

    pub fn ofTexts(values: Texts) Column {
        return .{ .tag = .texts, .as = .{ .texts = values } };
    }

    pub fn ofFloatLists(row_offsets: []u32, values: []f32) Column {
        return .{ .tag = .float_lists, .as = .{ .float_lists = .{ .offsets = .of(row_offsets), .values = .of(values) } } };
    }

    pub fn ofIdLists(row_offsets: []u32, values: []i64) Column {
        return .{ .tag = .int_lists, .as = .{ .int_lists = .{ .offsets = .of(row_offsets), .values = .of(values) } } };
    }

    pub fn ofTextLists(row_offsets: []u32, values: Texts) Column {
        return .{ .tag = .text_lists, .as = .{ .text_lists = .{ .offsets = .of(row_offsets), .values = values } } };
    }
};

/// What every plugin says about itself.
pub const Description = struct {
    /// Lower case, words joined by `-`.
    name: []const u8,
    version: []const u8,
    /// What it does, in one line.
    summary: []const u8,
    parameters: []const ParameterType = &.{},
};

pub const Initial = union(enum) { boolean: bool, integer: i64, number: f64, text: []const u8 };

/// A parameter that a recipe may set. The host checks type, range and choices.
pub const ParameterType = struct {
    /// Lower case, words joined by `_`.
    name: []const u8,
    type: ValueType,
    /// Taken where the recipe says nothing; without one it must.
    initial: ?Initial = null,
    min: ?f64 = null,
    max: ?f64 = null,
    choices: []const []const u8 = &.{},
    unit: []const u8 = "",
    help: []const u8,
};

pub const ValueType = enum(u8) { boolean, integer, number, text, booleans, integers, numbers, texts };

const RawValue = extern struct {
    tag: ValueType,
    as: extern union {
        boolean: bool,
        integer: i64,
        number: f64,
        text: RawText,
        booleans: Constants(bool),
        integers: Constants(i64),
        numbers: Constants(f64),
        texts: Constants(RawText),
    },
};

const RawParameter = extern struct { name: RawText, value: RawValue };

/// The parameters given, defaults included.
pub const Parameters = struct {
    given: []const RawParameter,

    fn find(self: Parameters, name: []const u8, tag: ValueType) *const RawValue {
        for (self.given) |*parameter| {
            if (std.mem.eql(u8, parameter.name.slice(), name) and parameter.value.tag == tag) {
                return &parameter.value;
            }
        }
        @panic("`about` has no such parameter of this type");
    }

    pub fn boolean(self: Parameters, name: []const u8) bool {
        return self.find(name, .boolean).as.boolean;
    }
    pub fn integer(self: Parameters, name: []const u8) i64 {
        return self.find(name, .integer).as.integer;
    }
    pub fn number(self: Parameters, name: []const u8) f64 {
        return self.find(name, .number).as.number;
    }
    /// Belongs to the call, as all that follow: copy it with `keep`.
    pub fn text(self: Parameters, name: []const u8) []const u8 {
        return self.find(name, .text).as.text.slice();
    }
    pub fn booleans(self: Parameters, name: []const u8) []const bool {
        return self.find(name, .booleans).as.booleans.slice();
    }
    pub fn integers(self: Parameters, name: []const u8) []const i64 {
        return self.find(name, .integers).as.integers.slice();
    }
    pub fn numbers(self: Parameters, name: []const u8) []const f64 {
        return self.find(name, .numbers).as.numbers.slice();
    }
    /// Each with `.slice()`.
    pub fn texts(self: Parameters, name: []const u8) []const RawText {
        return self.find(name, .texts).as.texts.slice();
    }
};

/// What a loss asks of training.
pub const Demands = struct {
    prediction: enum(u8) { logit, value, log_rate, score } = .logit,
    labels: enum(u8) { binary, non_negative, any } = .binary,
    columns: []const []const u8 = &.{},
};

/// The rows that a loss is asked about.
pub const LossBatch = struct {
    logits: []const f32,
    labels: []const f32,
    /// Null where every row weighs 1.
    weights: ?[]const f32,
    columns: []const Column,
};

/// What a sampler knows of the items; belongs to the call.
pub const Items = struct {
    /// Ascending.
    ids: []const i64,
    counts: []const u64,
    last_rows: []const u64,
    /// Empty where the recipe names no score column.
    scores: []const f32,
};

/// Memory that lives as long as the instance.
pub fn keep(comptime T: type, count: usize) []T {
    return std.heap.wasm_allocator.alloc(T, count) catch @panic("out of memory");
}

/// One call of the plugin: its memory, and its refusal.
pub const Call = struct {
    message: []const u8 = "refused without a reason",
    row: ?u32 = null,

    /// Taken back when the results have been read.
    pub fn allocator(_: *Call) std.mem.Allocator {
        return call_memory.allocator();
    }

    pub fn allocate(self: *Call, comptime T: type, count: usize) []T {
        return self.allocator().alloc(T, count) catch @panic("out of memory");
    }

    /// `return call.refuse("column `{s}` is empty", .{name});`
    pub fn refuse(self: *Call, comptime format: []const u8, values: anytype) Refused {
        self.message = std.fmt.allocPrint(self.allocator(), format, values) catch @panic("out of memory");
        return error.Refused;
    }

    /// The same for a row of this call, from 0.
    pub fn refuseRow(self: *Call, row: usize, comptime format: []const u8, values: anytype) Refused {
        self.row = @intCast(row);
        return self.refuse(format, values);
    }
};

var call_memory = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var call_ended = false;

/// The results of the last call have been read when anything new is asked for.
fn begin() Call {
    if (call_ended) {
        call_ended = false;
        _ = call_memory.reset(.retain_capacity);
    }
    return .{};
}

/// The host asks for the memory of arguments here, before each call.
fn realloc(old: ?[*]u8, old_bytes: usize, _: usize, bytes: usize) callconv(.c) ?[*]u8 {
    _ = begin();
    const taken = call_memory.allocator().alignedAlloc(u8, .@"16", @max(bytes, 1)) catch @panic("out of memory");
    if (old) |values| {
        const kept = @min(old_bytes, bytes);
        @memcpy(taken[0..kept], values[0..kept]);
    }
    return taken.ptr;
}

const RawFault = extern struct { message: RawText, has_row: bool, row: u32 };

/// A result as the component model reads it.
fn Result(comptime T: type) type {
    return extern struct {
        failed: bool,
        as: extern union { value: T, fault: RawFault },

        const Self = @This();

        fn set(self: *Self, call: *Call, outcome: Refused!T) *const Self {
            if (outcome) |value| {
                self.* = .{ .failed = false, .as = .{ .value = value } };
            } else |_| {
                const fault = RawFault{ .message = .of(call.message), .has_row = call.row != null, .row = call.row orelse 0 };
                self.* = .{ .failed = true, .as = .{ .fault = fault } };
            }
            call_ended = true;
            return self;
        }
    };
}

fn Optional(comptime T: type) type {
    return extern struct { given: bool, value: T };
}

const RawParameterType = extern struct {
    name: RawText,
    type: ValueType,
    initial: Optional(RawValue),
    min: Optional(f64),
    max: Optional(f64),
    choices: Constants(RawText),
    unit: RawText,
    help: RawText,
};

const RawDescription = extern struct {
    name: RawText,
    version: RawText,
    summary: RawText,
    parameters: Constants(RawParameterType),
};

comptime {
    std.debug.assert(@sizeOf(ColumnType) == 28);
    std.debug.assert(@sizeOf(Column) == 36);
    std.debug.assert(@sizeOf(RawParameter) == 24);
    std.debug.assert(@sizeOf(RawParameterType) == 96);
}

fn rawTexts(comptime texts: []const []const u8) Constants(RawText) {
    comptime var raw: [texts.len]RawText = undefined;
    inline for (texts, 0..) |text, i| raw[i] = .of(text);
    const fixed = raw;
    return .of(&fixed);
}

fn rawInitial(comptime initial: ?Initial) Optional(RawValue) {
    const value = initial orelse return .{ .given = false, .value = .{ .tag = .boolean, .as = .{ .integer = 0 } } };
    return .{ .given = true, .value = switch (value) {
        .boolean => |x| .{ .tag = .boolean, .as = .{ .boolean = x } },
        .integer => |x| .{ .tag = .integer, .as = .{ .integer = x } },
        .number => |x| .{ .tag = .number, .as = .{ .number = x } },
        .text => |x| .{ .tag = .text, .as = .{ .text = .of(x) } },
    } };
}

fn rawBound(comptime bound: ?f64) Optional(f64) {
    return .{ .given = bound != null, .value = bound orelse 0 };
}

fn rawDescription(comptime about: Description) RawDescription {
    comptime var raw: [about.parameters.len]RawParameterType = undefined;
    inline for (about.parameters, 0..) |parameter, i| raw[i] = .{
        .name = .of(parameter.name),
        .type = parameter.type,
        .initial = rawInitial(parameter.initial),
        .min = rawBound(parameter.min),
        .max = rawBound(parameter.max),
        .choices = rawTexts(parameter.choices),
        .unit = .of(parameter.unit),
        .help = .of(parameter.help),
    };
    const fixed = raw;
    return .{ .name = .of(about.name), .version = .of(about.version), .summary = .of(about.summary), .parameters = .of(&fixed) };
}

fn exportAs(comptime function: anytype, comptime name: []const u8) void {
    @export(function, .{ .name = "rectool:plugin/" ++ name });
}

fn exportAbout(comptime Plugin: type) void {
    const about = struct {
        const described = rawDescription(Plugin.about);
        fn describe() callconv(.c) *const RawDescription {
            _ = begin();
            call_ended = true;
            return &described;
        }
    };
    exportAs(&about.describe, "about@1.0.0#describe");
    @export(&realloc, .{ .name = "cabi_realloc" });
}

/// Makes `Plugin` the plugin: a struct with `about`,
/// `fn configure(self: *Plugin, parameters: Parameters, inputs: []ColumnType, call: *Call) Refused![]ColumnType` and
/// `fn apply(self: *Plugin, rows: usize, columns: []Column, call: *Call) Refused![]Column`.
pub fn exportTransform(comptime Plugin: type) void {
    const exports = struct {
        var plugin: Plugin = .{};
        var configured: Result(List(ColumnType)) = undefined;
        var applied: Result(List(Column)) = undefined;

        fn configure(parameters: ?[*]RawParameter, parameters_length: u32, inputs: ?[*]ColumnType, inputs_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            const given = List(RawParameter){ .data = parameters, .length = parameters_length };
            const types = List(ColumnType){ .data = inputs, .length = inputs_length };
            const outputs = plugin.configure(.{ .given = given.slice() }, types.slice(), &call);
            return configured.set(&call, if (outputs) |made| List(ColumnType).of(made) else |refused| refused);
        }

        fn apply(rows: u32, columns: ?[*]Column, columns_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            const inputs = List(Column){ .data = columns, .length = columns_length };
            const outputs = plugin.apply(rows, inputs.slice(), &call);
            return applied.set(&call, if (outputs) |made| List(Column).of(made) else |refused| refused);
        }
    };
    exportAbout(Plugin);
    exportAs(&exports.configure, "transform@1.0.0#configure");
    exportAs(&exports.apply, "transform@1.0.0#apply");
}

/// Makes `Plugin` the plugin: a struct with `about`,
/// `fn configure(self: *Plugin, parameters: Parameters, call: *Call) Refused!Demands`,
/// `fn bind(self: *Plugin, columns: []ColumnType, call: *Call) Refused!void` (only if it asks for columns) and
/// `fn evaluate(self: *Plugin, batch: LossBatch, losses: []f32, gradients: []f32, call: *Call) Refused!void`.
pub fn exportLoss(comptime Plugin: type) void {
    const RawDemands = extern struct { prediction: u8, labels: u8, columns: Constants(RawText) };
    const Evaluation = extern struct { losses: List(f32), gradients: List(f32) };
    const exports = struct {
        var plugin: Plugin = .{};
        var configured: Result(RawDemands) = undefined;
        var bound: Result(u32) = undefined;
        var evaluated: Result(Evaluation) = undefined;

        fn demanded(parameters: []const RawParameter, call: *Call) Refused!RawDemands {
            const demands: Demands = try plugin.configure(.{ .given = parameters }, call);
            const names = call.allocate(RawText, demands.columns.len);
            for (names, demands.columns) |*name, column| name.* = .of(column);
            return .{ .prediction = @backingInt(demands.prediction), .labels = @backingInt(demands.labels), .columns = .of(names) };
        }

        fn configure(parameters: ?[*]RawParameter, parameters_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            const given = List(RawParameter){ .data = parameters, .length = parameters_length };
            return configured.set(&call, demanded(given.slice(), &call));
        }

        fn bind(columns: ?[*]ColumnType, columns_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            if (!@hasDecl(Plugin, "bind")) return bound.set(&call, 0);
            const types = List(ColumnType){ .data = columns, .length = columns_length };
            return bound.set(&call, if (plugin.bind(types.slice(), &call)) |_| 0 else |refused| refused);
        }

        fn evaluate(logits: ?[*]f32, rows: u32, labels: ?[*]f32, labels_length: u32, weights: ?[*]f32, weights_length: u32, columns: ?[*]Column, columns_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            const batch = LossBatch{
                .logits = (List(f32){ .data = logits, .length = rows }).slice(),
                .labels = (List(f32){ .data = labels, .length = labels_length }).slice(),
                .weights = if (weights_length == 0) null else (List(f32){ .data = weights, .length = weights_length }).slice(),
                .columns = (List(Column){ .data = columns, .length = columns_length }).slice(),
            };
            const made = Evaluation{ .losses = .of(call.allocate(f32, rows)), .gradients = .of(call.allocate(f32, rows)) };
            const done = plugin.evaluate(batch, made.losses.slice(), made.gradients.slice(), &call);
            return evaluated.set(&call, if (done) |_| made else |refused| refused);
        }
    };
    exportAbout(Plugin);
    exportAs(&exports.configure, "objective@1.0.0#configure");
    exportAs(&exports.bind, "objective@1.0.0#bind");
    exportAs(&exports.evaluate, "objective@1.0.0#evaluate");
}

/// Makes `Plugin` the plugin: a struct with `about`,
/// `fn configure(self: *Plugin, parameters: Parameters, items: Items, call: *Call) Refused!void` and
/// `fn sample(self: *Plugin, positives: []const i64, count: usize, seed: u64, ids: []i64, log_probabilities: []f32, call: *Call) Refused!void`.
pub fn exportSampler(comptime Plugin: type) void {
    const Samples = extern struct { ids: List(i64), log_probabilities: List(f32) };
    const exports = struct {
        var plugin: Plugin = .{};
        var configured: Result(u32) = undefined;
        var sampled: Result(Samples) = undefined;

        fn configure(parameters: ?[*]RawParameter, parameters_length: u32, ids: ?[*]i64, ids_length: u32, counts: ?[*]u64, counts_length: u32, last_rows: ?[*]u64, last_rows_length: u32, scores: ?[*]f32, scores_length: u32) callconv(.c) *const anyopaque {
            var call = begin();
            const given = List(RawParameter){ .data = parameters, .length = parameters_length };
            const items = Items{
                .ids = (List(i64){ .data = ids, .length = ids_length }).slice(),
                .counts = (List(u64){ .data = counts, .length = counts_length }).slice(),
                .last_rows = (List(u64){ .data = last_rows, .length = last_rows_length }).slice(),
                .scores = (List(f32){ .data = scores, .length = scores_length }).slice(),
            };
            const done = plugin.configure(.{ .given = given.slice() }, items, &call);
            return configured.set(&call, if (done) |_| 0 else |refused| refused);
        }

        fn sample(positives: ?[*]i64, rows: u32, count: u32, seed: u64) callconv(.c) *const anyopaque {
            var call = begin();
            const given = List(i64){ .data = positives, .length = rows };
            const all = @as(usize, rows) * count;
            const made = Samples{ .ids = .of(call.allocate(i64, all)), .log_probabilities = .of(call.allocate(f32, all)) };
            const done = plugin.sample(given.slice(), count, seed, made.ids.slice(), made.log_probabilities.slice(), &call);
            return sampled.set(&call, if (done) |_| made else |refused| refused);
        }
    };
    exportAbout(Plugin);
    exportAs(&exports.configure, "sampler@1.0.0#configure");
    exportAs(&exports.sample, "sampler@1.0.0#sample");
}
