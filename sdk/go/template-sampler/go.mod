module {{name}}

go 1.24

require rectool/plugin v0.0.0
