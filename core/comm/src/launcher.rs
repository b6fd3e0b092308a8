//! Whether a launcher started this process, read from the variables it sets.

/// What a launcher says about this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// This rank, from 0.
    pub rank: usize,
    /// Number of ranks, where the launcher says it.
    pub size: Option<usize>,
    /// The launcher, for messages.
    pub by: &'static str,
}

impl Launched {
    /// What this process's environment says; `None` if it was started by hand.
    ///
    /// MPI must not be initialised then: outside a launcher Open MPI starts a daemon of its own.
    pub fn from_environment() -> Option<Self> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same for any set of variables.
    ///
    /// ```
    /// use rectool_comm::Launched;
    /// let lookup = |name: &str| match name {
    ///     "OMPI_COMM_WORLD_RANK" => Some("3".to_owned()),
    ///     "OMPI_COMM_WORLD_SIZE" => Some("8".to_owned()),
    ///     _ => None,
    /// };
    /// let launched = Launched::from_lookup(lookup).unwrap();
    /// assert_eq!((launched.rank, launched.size), (3, Some(8)));
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| lookup(name)?.trim().parse::<usize>().ok();
        let both = |rank: &str, size: &str, by| {
            Some(Self { rank: number(rank)?, size: Some(number(size)?), by })
        };
        // `SLURM_NTASKS` is set for a whole allocation, also for programs run by hand in it;
        // `SLURM_STEP_NUM_TASKS` only inside `srun`. A step of one task is a shell, or one rank.
        let slurm_size = number("SLURM_STEP_NUM_TASKS");
        both("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun")
            .or_else(|| both("PMI_RANK", "PMI_SIZE", "mpiexec"))
            .or_else(|| {
                Some(Self { rank: number("PMIX_RANK")?, size: slurm_size, by: "a PMIx launcher" })
            })
            .or_else(|| both("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun"))
            .filter(|launched| launched.by != "srun" || launched.size != Some(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Option<Launched> {
        Launched::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_launcher_is_recognised() {
        let open_mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")];
        let expected = Launched { rank: 1, size: Some(2), by: "mpirun" };
        assert_eq!(from(&open_mpi), Some(expected));
        let hydra = [("PMI_RANK", "0"), ("PMI_SIZE", "4")];
        assert_eq!(from(&hydra).unwrap().size, Some(4));
        let pmix = [("PMIX_RANK", "5")];
        assert_eq!(from(&pmix).map(|l| (l.rank, l.size)), Some((5, None)));
        let slurm = [("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "6")];
        assert_eq!(from(&slurm), Some(Launched { rank: 5, size: Some(6), by: "srun" }));
    }

    #[test]
    fn by_hand_is_not_launched() {
        assert_eq!(from(&[]), None);
        // Inside an allocation, or in a shell under `srun`, but not started as a rank.
        assert_eq!(from(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]), None);
        assert_eq!(from(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")]), None);
        assert_eq!(from(&[("PMI_RANK", "zero"), ("PMI_SIZE", "4")]), None);
    }
}
