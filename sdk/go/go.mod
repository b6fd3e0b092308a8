module rectool/plugin

go 1.24
