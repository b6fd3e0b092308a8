//! How many threads a rank may use.

use std::fs;

use crate::{Comm, CommError, CommExt};

/// Threads that this process can run at once: the cores it is bound to, or fewer under a CPU quota.
///
/// `mpirun -n 2` binds each rank to one core unless told otherwise (`--bind-to none`,
/// `--map-by slot:PE=4`). Ranks that share cores must also share them out: [`threads_per_rank`].
pub fn threads_available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that this rank should use, at least 1: the cores it is bound to, where a core that n
/// ranks of this machine share counts 1/n.
///
/// # Collective
/// Every rank must call it.
///
/// # Errors
/// As [`Comm::barrier`].
pub fn threads_per_rank(comm: &dyn Comm) -> Result<usize, CommError> {
    let threads = threads_available();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/sys/kernel/random/boot_id");
    let status = read("/proc/self/status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    // Where /proc is missing, cores are named by number: what is available, from 0.
    let cores = list.and_then(parse_cores).unwrap_or_else(|| (0..threads as u64).collect());
    let machine =
        machine.bytes().fold(0_u64, |hash, byte| rectool_base::mix64(hash ^ u64::from(byte)));
    let mut own = vec![machine];
    own.extend(&cores);
    let mut all = Vec::new();
    let counts = comm.all_gather(&own, &mut all)?;
    let mut ranks = Vec::new();
    let mut rest = all.as_slice();
    for count in counts {
        let (rank, after) = rest.split_at(count);
        if rank[0] == machine {
            ranks.push(&rank[1..]);
        }
        rest = after;
    }
    // A quota holds for the machine's ranks together.
    let quota = if threads < cores.len() { threads / ranks.len() } else { threads };
    Ok(share(&cores, &ranks).min(quota).max(1))
}

/// The sum over `cores` of 1 / (ranks that may use it), rounded down.
fn share(cores: &[u64], ranks: &[&[u64]]) -> usize {
    let users = |core: &u64| ranks.iter().filter(|rank| rank.contains(core)).count().max(1);
    let share: f64 = cores.iter().map(|core| 1.0 / users(core) as f64).sum();
    // Thirds do not add up to whole numbers.
    (share + 1e-6) as usize
}

/// The numbers of a kernel list such as `0-3,8`.
fn parse_cores(list: &str) -> Option<Vec<u64>> {
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Solo, on_ranks};

    #[test]
    fn kernel_lists_are_read() {
        assert_eq!(parse_cores("\t0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cores("5"), Some(vec![5]));
        assert_eq!(parse_cores(""), None);
    }

    #[test]
    fn shared_cores_are_shared_out() {
        let all = [0, 1, 2, 3, 4, 5];
        assert_eq!(share(&all, &[&all]), 6);
        assert_eq!(share(&all, &[&all, &all, &all]), 2);
        assert_eq!(share(&[0], &[&[0], &[1]]), 1);
        assert_eq!(share(&[0, 1, 2], &[&[0, 1, 2], &[2, 3]]), 2);
    }

    #[test]
    fn ranks_of_one_process_share_its_cores() {
        let threads = threads_available();
        assert_eq!(threads_per_rank(&Solo).unwrap(), threads);
        let shares = on_ranks(2, |comm| threads_per_rank(&*comm).unwrap());
        assert_eq!(shares, [(threads / 2).max(1); 2]);
    }
}
