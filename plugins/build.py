#!/usr/bin/env python3
"""Builds the standard plugins to <name>/<name>.wasm: build.py [--check] [name…]

With --check nothing is written; the status is 1 if a committed module is not what its sources give.
That needs the compiler of the committed ones: with another, --check only builds, and says so.

Needs either rustup's target (`rustup target add wasm32-unknown-unknown`) or Debian's
`rustc-web cargo-web rust-web-src lld`, whose standard library is then built along.
"""

import importlib.util
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SPEC = importlib.util.spec_from_file_location("rust_build", HERE.parent / "sdk" / "rust" / "build.py")
rust_build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rust_build)
COMMITTED_WITH = "rustc 1.95.0 "


def main():
    names = sys.argv[1:]
    check = "--check" in names
    names = [name for name in names if name != "--check"]
    names = names or sorted(path.parent.name for path in HERE.glob("*/Cargo.toml"))
    command, environment, version = rust_build.toolchain(HERE.parent, "/rectool")
    packages = [flag for name in names for flag in ("--package", name)]
    subprocess.run(
        [*command, "build", "--release", "--locked", "--lib", "--target", rust_build.TARGET, *packages],
        cwd=HERE, env=environment, check=True,
    )
    folder = pathlib.Path(environment.get("CARGO_TARGET_DIR", HERE / "target")) / rust_build.TARGET / "release"
    if check and not version.startswith(COMMITTED_WITH):
        print(f"not compared: built with {version}, committed with {COMMITTED_WITH}", file=sys.stderr)
        return 0
    status = 0
    for name in names:
        module = rust_build.stripped((folder / f"{name.replace('-', '_')}.wasm").read_bytes())
        path = HERE / name / f"{name}.wasm"
        same = path.exists() and path.read_bytes() == module
        if check and not same:
            print(f"{name}: {path.relative_to(HERE)} is not what its sources give", file=sys.stderr)
            status = 1
        elif not check:
            path.write_bytes(module)
            print(f"{name}: {len(module):,} bytes{'' if same else ', changed'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
