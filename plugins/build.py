#!/usr/bin/env python3
"""Builds the standard plugins to <name>/<name>.wasm: build.py [--check] [name…]

With --check nothing is written; the status is 1 if a committed module differs from its sources.

Needs either rustup's target (`rustup target add wasm32-unknown-unknown`) or Debian's
`rustc-web cargo-web rust-web-src lld`, whose standard library is then built along.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TARGET = "wasm32-unknown-unknown"


def toolchain():
    """The cargo command and its environment."""
    flags = ["-Ctarget-feature=+simd128", f"--remap-path-prefix={HERE.parent}=/rectool"]
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    flags += [f"--remap-path-prefix={home}=/cargo"]
    environment = {**os.environ}
    libraries = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", TARGET],
        cwd=HERE, capture_output=True, text=True, check=False,
    ).stdout.strip()
    command = ["cargo"]
    if not libraries or not pathlib.Path(libraries).is_dir():
        if not pathlib.Path("/usr/bin/wasm-ld").exists() or not pathlib.Path("/usr/bin/cargo").exists():
            sys.exit(f"no Rust for {TARGET}\n  hint: rustup target add {TARGET}, or on Debian: "
                     "apt-get install rustc-web cargo-web rust-web-src lld")
        flags += ["-Clinker=/usr/bin/wasm-ld", "-Clinker-flavor=wasm-ld"]
        environment |= {"RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1"}
        command = ["/usr/bin/cargo", "-Zbuild-std=std,panic_abort"]
    environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(flags)
    return command, environment


def number(data, at):
    """The LEB128 number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def stripped(module):
    """The module without custom sections, but for the one that says what its exports mean."""
    kept, at = bytearray(module[:8]), 8
    while at < len(module):
        size, body = number(module, at + 1)
        end = body + size
        name = b""
        if module[at] == 0:
            length, text = number(module, body)
            name = module[text:text + length]
        if module[at] != 0 or (name.startswith(b"component-type") and name.endswith(b"exports")):
            kept += module[at:end]
        at = end
    return bytes(kept)


def main():
    names = sys.argv[1:]
    check = "--check" in names
    names = [name for name in names if name != "--check"]
    names = names or sorted(path.parent.name for path in HERE.glob("*/Cargo.toml"))
    command, environment = toolchain()
    packages = [flag for name in names for flag in ("--package", name)]
    subprocess.run(
        [*command, "build", "--release", "--locked", "--lib", "--target", TARGET, *packages],
        cwd=HERE, env=environment, check=True,
    )
    folder = pathlib.Path(environment.get("CARGO_TARGET_DIR", HERE / "target")) / TARGET / "release"
    status = 0
    for name in names:
        module = stripped((folder / f"{name.replace('-', '_')}.wasm").read_bytes())
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
