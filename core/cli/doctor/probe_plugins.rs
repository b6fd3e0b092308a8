//! Compilers that turn a language into plugins. All are optional.

use std::path::Path;

use super::program::{ask, find, version_in};
use super::report::Finding;

/// A language's compiler.
struct Tool {
    program: &'static str,
    version: &'static [&'static str],
    /// What it is for, and how to get it.
    gives: &'static str,
    install: &'static str,
}

const TOOLS: [Tool; 7] = [
    Tool {
        program: "wasm-tools",
        version: &["--version"],
        gives: "a look into plugins; rectool does without",
        install: "`cargo install wasm-tools`",
    },
    Tool {
        program: "go",
        version: &["version"],
        gives: "plugins in Go",
        install: "`apt-get install golang`, or https://go.dev/dl",
    },
    Tool {
        program: "node",
        version: &["--version"],
        gives: "plugins in JavaScript",
        install: "`apt-get install nodejs npm`",
    },
    Tool {
        program: "asc",
        version: &["--version"],
        gives: "plugins in AssemblyScript",
        install: "`npm install -g assemblyscript`",
    },
    Tool {
        program: "python3",
        version: &["--version"],
        gives: "plugins in Python",
        install: "`apt-get install python3 python3-pip`",
    },
    Tool {
        program: "componentize-py",
        version: &["--version"],
        gives: "plugins in Python",
        install: "`pip install componentize-py`",
    },
    Tool {
        program: "zig",
        version: &["version"],
        gives: "plugins in Zig and C",
        install: "`pip install ziglang`, or https://ziglang.org/download",
    },
];

pub(super) fn probe() -> Vec<Finding> {
    // Interpreted tools take their time to say their version.
    std::thread::scope(|scope| {
        let rust = scope.spawn(rust);
        let clang = scope.spawn(clang);
        let tools = TOOLS.each_ref().map(|tool| scope.spawn(move || tool.look()));
        let answers = [rust, clang].into_iter().chain(tools);
        answers.map(|answer| answer.join().expect("probes do not panic")).collect()
    })
}

impl Tool {
    fn look(&self) -> Finding {
        let Some(path) = find(self.program) else {
            return Finding::missing(self.program, format!("for {}", self.gives))
                .hint(self.install);
        };
        match ask(self.program, self.version) {
            Some(answer) => {
                let answer = answer.trim();
                let version = version_in(answer).unwrap_or_else(|| answer.to_owned());
                Finding::ok(self.program, version).meaning(self.gives)
            }
            None => Finding::problem(self.program, path.display().to_string())
                .meaning("it does not tell its version")
                .hint(format!("install it anew: {}", self.install)),
        }
    }
}

/// The Rust compiler is only of use with a WebAssembly standard library.
fn rust() -> Finding {
    const NAME: &str = "rustc wasm32";
    const TARGET: &str = "wasm32-unknown-unknown";
    let gives = "plugins in Rust";
    let Some(version) = ask("rustc", &["--version"]).as_deref().and_then(version_in) else {
        return Finding::missing(NAME, format!("for {gives}")).hint("https://rustup.rs");
    };
    let folder = ask("rustc", &["--print", "target-libdir", "--target", TARGET]);
    if folder.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Finding::ok(NAME, version).meaning(gives);
    }
    Finding::missing(NAME, format!("rustc {version} has no {TARGET}, for {gives}"))
        .hint(format!("`rustup target add {TARGET}`"))
}

/// clang is only of use if it was built with the WebAssembly target.
fn clang() -> Finding {
    const NAME: &str = "clang wasm32";
    let (gives, install) = ("plugins in C and C++", "`apt-get install clang lld`");
    let Some(targets) = ask("clang", &["--print-targets"]) else {
        return Finding::missing(NAME, format!("for {gives}")).hint(install);
    };
    let version = ask("clang", &["--version"]).as_deref().and_then(version_in).unwrap_or_default();
    if targets.contains("wasm32") {
        return Finding::ok(NAME, version).meaning(gives);
    }
    Finding::missing(NAME, format!("clang {version} has no wasm32 target, for {gives}"))
        .hint(install)
}
