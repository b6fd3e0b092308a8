//! Commands that apply a trained model: `embed`, `recommend` and `score`.

mod embed;
mod recommend;
mod score;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rectool_base::NoPlugins;
use rectool_comm::{Comm, agree};
use rectool_data::{Dataset, Split};
use rectool_model::{Checkpoint, Environment, ModelError, Ranker};
use rectool_plugin::{Host, Plugins, SearchPath};

pub(crate) use embed::{EmbedArgs, run as embed};
pub(crate) use recommend::{RecommendArgs, run as recommend};
pub(crate) use score::{ScoreArgs, run as score};

use crate::device::DeviceArgs;
use crate::failure::Failure;

/// Threads that read rows.
const LOADER_THREADS: usize = 1;

/// What all of these commands take.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// A checkpoint, or a run's folder: then its best one if it has early stopping, or else its latest
    model: PathBuf,

    /// Dataset with the columns that the model reads
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The new file: .arrow (Arrow IPC) or .parquet; of `embed` also .npy
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    device: DeviceArgs,

    /// Threads of each rank [default: its share of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// A model with its weights, and the data it is applied to.
struct Applied {
    comm: Arc<dyn Comm>,
    ranker: Ranker,
    data: Dataset,
}

impl ModelArgs {
    /// Loads the model and opens the data, once `check` has nothing against the name of the new file.
    ///
    /// # Collective
    /// Every rank of the job.
    fn open(&self, check: impl Fn(&Path) -> Result<(), ModelError>) -> Result<Applied, Failure> {
        let comm = rectool_comm::connect().map_err(Failure::failed)?;
        let share = rectool_comm::threads_per_rank(&*comm).map_err(Failure::failed)?;
        rectool_model::set_threads(self.threads.map_or(share, usize::from).max(1));
        // The cheap mistakes first.
        let free = if comm.rank() == 0 { check(&self.out) } else { Ok(()) };
        let opened = free.and_then(|()| {
            let compute = self.device.choice().resolve(comm.local_rank())?;
            Ok((compute, Checkpoint::of_run(&self.model)?, Dataset::open(&self.data)?))
        });
        let (compute, checkpoint, data) = agree(&*comm, opened).map_err(Failure::failed)?;
        if comm.rank() == 0 {
            tracing::info!("using the checkpoint {}", checkpoint.path().display());
        }
        let plugins = plugins_of(&checkpoint)?;
        let environment = Environment { comm: Arc::clone(&comm), compute, plugins };
        let ranker = agree(&*comm, checkpoint.ranker(environment)).map_err(Failure::failed)?;
        Ok(Applied { comm, ranker, data })
    }
}

impl Applied {
    fn split(&self, name: &str) -> Result<Split, Failure> {
        self.data.split(name).map_err(Failure::failed)
    }

    fn splits(&self, names: &[String]) -> Result<Vec<Split>, Failure> {
        names.iter().map(|name| self.split(name)).collect()
    }

    /// Whether this rank writes the file.
    fn writes(&self) -> bool {
        self.comm.rank() == 0
    }
}

/// The plugins that the checkpoint keeps. What runs them is set up only if there are any.
fn plugins_of(checkpoint: &Checkpoint) -> Result<Arc<dyn rectool_base::PluginSource>, Failure> {
    let entries = &checkpoint.manifest().plugins;
    if entries.is_empty() {
        return Ok(Arc::new(NoPlugins));
    }
    let host = Host::for_user().map_err(Failure::plugin)?;
    let plugins = Plugins::new(host, SearchPath::new());
    for entry in entries {
        let bytes = checkpoint.plugin_bytes(&entry.sha256).map_err(Failure::failed)?;
        if let Some(bytes) = bytes {
            plugins.add(&entry.name, &bytes).map_err(Failure::plugin)?;
        }
    }
    Ok(Arc::new(plugins))
}
