//! `rectool recommend`: the best items for each user.

use rectool_data::Split;
use rectool_model::{
    Interactions, OutputColumn, Scorer, Side, VectorScorer, Vectors, check_output, write_columns,
};

use super::{Applied, LOADER_THREADS, ModelArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Users whose lists are made at a time.
const BLOCK_USERS: usize = 4096;

/// Options of `rectool recommend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file has a row for each recommended item, by rising user and rank: `user` \
    and `item` (int64), `rank` from 1 (uint32) and `score` (float32). A user that has seen nearly \
    everything has fewer rows.\n\nExample:\n  \
    rectool recommend runs/latest --data data/ml-1m --users test --items train --seen train \
    -k 100 --out recommended.parquet"
)]
pub(crate) struct RecommendArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Split with the users, each by its first row
    #[arg(long, value_name = "NAME")]
    users: String,

    /// Splits with the items, each by its first row
    #[arg(long, value_name = "NAME", required = true)]
    items: Vec<String>,

    /// Splits with what users have seen and do not get again
    #[arg(long, value_name = "NAME")]
    seen: Vec<String>,

    /// Items for each user
    #[arg(long, short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
}

/// Writes the lists.
///
/// # Collective
/// Every rank of the job; rank 0 writes.
pub(crate) fn run(args: &RecommendArgs) -> Result<Exit, Failure> {
    let mut applied = args.model.open(check_output)?;
    let users = applied.split(&args.users)?;
    let (items, seen) = (applied.splits(&args.items)?, applied.splits(&args.seen)?);
    let items: Vec<&Split> = items.iter().collect();
    let ranker = &mut applied.ranker;
    let users = ranker.encode(Side::Query, &[&users], LOADER_THREADS).map_err(Failure::failed)?;
    let items = ranker.encode(Side::Candidate, &items, LOADER_THREADS).map_err(Failure::failed)?;
    if !applied.writes() {
        return Ok(Exit::Ok);
    }
    let seen: Vec<&Split> = seen.iter().collect();
    let lists = best(&applied, (&users, &items), &seen, args.k as usize)?;
    let (out, rows, count) = (&args.model.out, lists.items.len(), users.ids.len());
    let columns = vec![
        ("user", OutputColumn::Ids(lists.users)),
        ("item", OutputColumn::Ids(lists.items)),
        ("rank", OutputColumn::Counts(lists.ranks)),
        ("score", OutputColumn::Floats(lists.scores)),
    ];
    write_columns(out, columns).map_err(Failure::failed)?;
    output::print(&format!("{}: {rows} items for {count} users\n", out.display()))?;
    Ok(Exit::Ok)
}

/// The rows of the file, column by column.
#[derive(Default)]
struct Lists {
    users: Vec<i64>,
    items: Vec<i64>,
    ranks: Vec<u32>,
    scores: Vec<f32>,
}

/// The k best items for each user among those it has not seen.
fn best(
    applied: &Applied,
    (users, items): (&Vectors, &Vectors),
    seen: &[&Split],
    k: usize,
) -> Result<Lists, Failure> {
    let spec = applied.ranker.spec().retrieval.as_ref();
    let columns = spec.map_or(("", ""), |spec| (spec.query.as_str(), spec.item.as_str()));
    let seen = Interactions::read(seen, columns, None).map_err(Failure::failed)?;
    let (seen, _) = seen.renumbered(&users.ids, &items.ids);
    let compute = applied.ranker.compute();
    let scorer = VectorScorer::new(&users.values, &items.values, items.width, compute);
    let scorer = scorer.map_err(Failure::failed)?;
    let all: Vec<u32> = (0..users.ids.len() as u32).collect();
    let mut lists = Lists::default();
    for block in all.chunks(BLOCK_USERS) {
        let found = scorer.top_k(block, k, &seen).map_err(Failure::failed)?;
        for (user, list) in block.iter().zip(found) {
            for (at, (item, score)) in list.into_iter().enumerate() {
                lists.users.push(users.ids.as_slice()[*user as usize]);
                lists.items.push(items.ids.as_slice()[item as usize]);
                lists.ranks.push(at as u32 + 1);
                lists.scores.push(score);
            }
        }
    }
    Ok(lists)
}
