module {{name}}

go 1.24

require rectool/plugin v0.0.0

// Unpacked by `rectool plugin build`.
replace rectool/plugin => ./.rectool/sdk/go
