//! Other programs, asked for their version.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that takes longer does not answer. Interpreted tools need seconds on a busy machine.
const ANSWER_SECONDS_MAX: u64 = 20;

/// Where `program` is on `PATH`.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What `program` prints on standard output; `None` if it is not there, fails, or does not end.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    // On a thread of its own, so that neither a full pipe nor an open one holds us up.
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let end = Instant::now() + Duration::from_secs(ANSWER_SECONDS_MAX);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return reader.join().ok()?.ok(),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) if Instant::now() > end => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The first run of digits and dots in `text` that looks like a version.
pub(super) fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_prose() {
        let cases = [
            ("mpirun (Open MPI) 4.1.4\n\nReport bugs", Some("4.1.4")),
            ("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4", Some("4.1.4")),
            ("go version go1.27.1 linux/amd64", Some("1.27.1")),
            ("v22.5.0", Some("22.5.0")),
            ("no number. At all", None),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn absent_and_failing_programs_say_nothing() {
        assert_eq!(ask("rectool-no-such-program", &[]), None);
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("echo", &["1.2"]).as_deref(), Some("1.2\n"));
        assert!(find("sh").is_some());
    }
}
