//! Processor, memory, and the limits on them.

use std::fs;
use std::path::{Path, PathBuf};

use super::program::ask;
use super::report::Finding;

const MIB: u64 = 1 << 20;
/// What Open MPI needs there for the mailboxes of a few ranks.
const SHARED_MEMORY_BYTES_MIN: u64 = 32 * MIB;
/// Below this not even the CPU libraries and a small table fit.
const MEMORY_BYTES_MIN: u64 = 1024 * MIB;

pub(super) fn probe() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    vec![
        Finding::ok("CPU", field(&cpuinfo, "model name").unwrap_or("unknown").to_owned()),
        simd(&cpuinfo),
        cores(&cpuinfo),
        memory(&read("/proc/meminfo"), cgroup_limit()),
        shared_memory(ask("df", &["-Pk", "/dev/shm"]).as_deref()),
        locked_memory(&read("/proc/self/limits")),
    ]
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn simd(cpuinfo: &str) -> Finding {
    const NAME: &str = "SIMD";
    // As the kernel writes them, on x86-64 and on ARM.
    const KNOWN: [&str; 11] = [
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512_bf16",
        "amx_bf16",
        "asimd",
        "sve",
        "bf16",
        "i8mm",
    ];
    let flags = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default();
    let found: Vec<&str> =
        KNOWN.into_iter().filter(|known| flags.split_whitespace().any(|f| f == *known)).collect();
    if found.is_empty() {
        return Finding::missing(NAME, "no vector instructions that rectool uses: slow, but right");
    }
    Finding::ok(NAME, found.join(" "))
}

fn cores(cpuinfo: &str) -> Finding {
    let total = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let available = rectool_comm::threads_available();
    let finding =
        Finding::ok("cores", format!("{available} of {} to be used", total.max(available)));
    match std::env::var("OMP_NUM_THREADS") {
        Ok(threads) => finding.meaning(format!("libtorch: OMP_NUM_THREADS={threads}")),
        Err(_) => finding,
    }
}

/// `limit` is what the control group allows, in bytes.
fn memory(meminfo: &str, limit: Option<u64>) -> Finding {
    const NAME: &str = "memory";
    let bytes = |name| kib(field(meminfo, name)?);
    let (Some(total), Some(available)) = (bytes("MemTotal"), bytes("MemAvailable")) else {
        return Finding::problem(NAME, "").meaning("/proc/meminfo cannot be read");
    };
    let mut found = format!("{} of {} free", size(available), size(total));
    let limit = limit.filter(|limit| *limit < total);
    if let Some(limit) = limit {
        found = format!("{found}, at most {} by the control group", size(limit));
    }
    if available.min(limit.unwrap_or(u64::MAX)) < MEMORY_BYTES_MIN {
        return Finding::problem(NAME, found)
            .meaning("less than rectool needs for a small model")
            .hint("end other programs, or raise the container's limit");
    }
    Finding::ok(NAME, found)
}

/// Bytes out of `16384 kB`.
fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The least memory limit of this process's control groups, in bytes.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&groups)
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

/// Where the limits of a process in these groups, and of the groups around them, are.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(group).join(file));
        }
    }
    files
}

/// `df` is what `df -Pk /dev/shm` says.
fn shared_memory(df: Option<&str>) -> Finding {
    const NAME: &str = "/dev/shm";
    let numbers: Option<Vec<u64>> = df.and_then(|text| {
        let fields = text.lines().nth(1)?.split_whitespace().skip(1).take(3);
        fields.map(|kib| kib.parse::<u64>().ok().map(|kib| kib * 1024)).collect()
    });
    let Some([total, _, free]) = numbers.as_deref() else {
        return Finding::missing(
            NAME,
            "not there: ranks of one machine talk through files or sockets",
        );
    };
    let found = format!("{} of {} free", size(*free), size(*total));
    if *free < SHARED_MEMORY_BYTES_MIN {
        return Finding::problem(NAME, found)
            .meaning("too little for mpirun with several ranks on this machine")
            .hint("remove what ended programs left there; in a container: `--shm-size 1g`");
    }
    Finding::ok(NAME, found)
}

fn locked_memory(limits: &str) -> Finding {
    const NAME: &str = "locked memory";
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft.map(|soft| (soft, soft.parse::<u64>())) {
        Some(("unlimited", _)) => Finding::ok(NAME, "unlimited"),
        Some((_, Ok(bytes))) if bytes < 64 * MIB => {
            Finding::ok(NAME, format!("at most {}", size(bytes)))
                .hint("InfiniBand needs `ulimit -l unlimited`; other networks do not")
        }
        Some((_, Ok(bytes))) => Finding::ok(NAME, format!("at most {}", size(bytes))),
        _ => Finding::missing(NAME, "the limit is unknown"),
    }
}

/// `15.6 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn processor_is_read_on_x86_and_arm() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC 7763\nflags\t\t: fpu avx avx2 fma\n";
        assert_eq!(field(x86, "model name"), Some("AMD EPYC 7763"));
        assert_eq!(simd(x86).found, "avx2 fma");
        assert_eq!(simd("Features\t: fp asimd bf16\n").found, "asimd bf16");
        assert_eq!(simd("").state, State::Missing);
    }

    #[test]
    fn memory_is_that_of_the_group_if_less() {
        let meminfo = "MemTotal:       16384000 kB\nMemFree: 5 kB\nMemAvailable:    8388608 kB\n";
        assert_eq!(memory(meminfo, None).found, "8.0 GiB of 15.6 GiB free");
        assert_eq!(memory(meminfo, Some(u64::MAX / 2)).found, "8.0 GiB of 15.6 GiB free");
        let limited = memory(meminfo, Some(512 * MIB));
        assert_eq!(limited.state, State::Problem);
        assert!(limited.found.ends_with("at most 512 MiB by the control group"), "{limited:?}");
        assert_eq!(memory("", None).state, State::Problem);
    }

    #[test]
    fn limits_of_all_groups_around_count() {
        let v2 = limit_files("0::/user.slice/app\n");
        let expected = [
            "/sys/fs/cgroup/user.slice/app/memory.max",
            "/sys/fs/cgroup/user.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(v2, expected.map(PathBuf::from));
        let v1 = limit_files("5:cpu,cpuacct:/x\n4:memory:/\n");
        assert_eq!(v1, [PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes")]);
    }

    #[test]
    fn shared_and_locked_memory_are_read() {
        let df = |free: u64| {
            format!(
                "Filesystem 1024-blocks Used Available Capacity Mounted on\ntmpfs 65536 0 {free} 0% /dev/shm\n"
            )
        };
        assert_eq!(shared_memory(Some(&df(65_536))).found, "64.0 MiB of 64.0 MiB free");
        assert_eq!(shared_memory(Some(&df(1_000))).state, State::Problem);
        assert_eq!(shared_memory(None).state, State::Missing);
        assert_eq!(shared_memory(Some("nonsense")).state, State::Missing);
        let limits = |soft: &str| {
            format!(
                "Limit   Soft Limit  Hard Limit  Units\nMax locked memory  {soft}  {soft}  bytes\n"
            )
        };
        assert_eq!(locked_memory(&limits("unlimited")).found, "unlimited");
        assert_eq!(locked_memory(&limits("8388608")).found, "at most 8.0 MiB");
        assert_eq!(locked_memory("").state, State::Missing);
    }

    #[test]
    fn sizes_are_short() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 * MIB, "200 MiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
