#!/usr/bin/env python3
"""Builds the Rust crate in this folder for WebAssembly: build.py NAME, makes NAME.wasm

Needs either rustup's target (`rustup target add wasm32-unknown-unknown`) or Debian's
`rustc-web cargo-web rust-web-src lld`, whose standard library is then built along.
"""

import os
import pathlib
import subprocess
import sys

TARGET = "wasm32-unknown-unknown"


def toolchain(folder, name):
    """The cargo command for crates in `folder`, its environment, and the compiler's version.

    `name` stands for `folder` in messages, so that the same sources give the same bytes anywhere.
    """
    flags = ["-Ctarget-feature=+simd128", f"--remap-path-prefix={folder}={name}"]
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    for sources in sorted(home.glob("registry/src/*")):
        flags.append(f"--remap-path-prefix={sources}=/crates")
    environment = {**os.environ}
    libraries = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", TARGET],
        cwd=folder, capture_output=True, text=True, check=False,
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
        cwd=folder, capture_output=True, text=True, check=True,
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
    [name] = sys.argv[1:]
    folder = pathlib.Path.cwd()
    command, environment, _ = toolchain(folder, f"/{name}")
    build = [*command, "build", "--release", "--lib", "--target", TARGET]
    status = subprocess.run(build, cwd=folder, env=environment, check=False).returncode
    if status != 0:
        return status
    target = pathlib.Path(environment.get("CARGO_TARGET_DIR", folder / "target"))
    module = target / TARGET / "release" / f"{name.replace('-', '_')}.wasm"
    (folder / f"{name}.wasm").write_bytes(stripped(module.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
