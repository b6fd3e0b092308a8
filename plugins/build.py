#!/usr/bin/env python3
"""Builds the standard plugins to <name>/<name>.wasm: build.py [--check] [name…]

With --check nothing is written; the status is 1 if a committed module is not what its sources give.
That needs the compiler of the committed ones: with another, --check only builds, and says so.

Needs either rustup's target (`rustup target add wasm32-unknown-unknown`) or Debian's
`rustc-web cargo-web rust-web-src lld`, whose standard library is then built along.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TARGET = "wasm32-unknown-unknown"
COMMITTED_WITH = "rustc 1.95.0 "


def toolchain():
    """The cargo command, its environment, and the compiler's version."""
    flags = ["-Ctarget-feature=+simd128", f"--remap-path-prefix={HERE.parent}=/rectool"]
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    for sources in sorted(home.glob("registry/src/*")):
        flags.append(f"--remap-path-prefix={sources}=/crates")
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
    version = subprocess.run(
        [environment.get("RUSTC", "rustc"), "--version"],
        cwd=HERE, capture_output=True, text=True, check=True,
    ).stdout.strip()
    return command, environment, version


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
    """The module without custom sections: names, producers, and the types that the host knows."""
    kept, at = bytearray(module[:8]), 8
    while at < len(module):
        size, body = number(module, at + 1)
        if module[at] != 0:
            kept += module[at:body + size]
        at = body + size
    return bytes(kept)


def main():
    names = sys.argv[1:]
    check = "--check" in names
    names = [name for name in names if name != "--check"]
    names = names or sorted(path.parent.name for path in HERE.glob("*/Cargo.toml"))
    command, environment, version = toolchain()
    packages = [flag for name in names for flag in ("--package", name)]
    subprocess.run(
        [*command, "build", "--release", "--locked", "--lib", "--target", TARGET, *packages],
        cwd=HERE, env=environment, check=True,
    )
    folder = pathlib.Path(environment.get("CARGO_TARGET_DIR", HERE / "target")) / TARGET / "release"
    if check and not version.startswith(COMMITTED_WITH):
        print(f"not compared: built with {version}, committed with {COMMITTED_WITH}", file=sys.stderr)
        return 0
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
