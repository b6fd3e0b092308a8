//! `rectool check`, also called `plan`: plans what a recipe says, without training.

use rectool_comm::Launched;
use rectool_recipe::{Plan, RecipeError};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::run::{RecipeArgs, failure};

/// Options of `rectool check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// Plan for this many ranks [default: those of the job, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Option<u32>,

    /// Print the plan as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the plan, or what is wrong with the recipe. Under a launcher the job's own ranks and their
/// exchanges are planned for.
///
/// # Collective
/// Every rank of the job.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let options = args.recipe.options();
    let Some(launched) = Launched::from_environment() else {
        let ranks = args.ranks.unwrap_or(1) as usize;
        return print(args, rectool_recipe::check(&options, ranks));
    };
    if let Some(ranks) = args.ranks.map(|ranks| ranks as usize)
        && launched.size != Some(ranks)
    {
        // These ranks are not the ones in question, and one of them is enough.
        return match launched.rank {
            0 => print(args, rectool_recipe::check(&options, ranks)),
            _ => Ok(Exit::Ok),
        };
    }
    let comm = rectool_comm::connect().map_err(Failure::failed)?;
    let plan = rectool_recipe::check_on(&options, &comm);
    if comm.rank() == 0 { print(args, plan) } else { plan.map(|_| Exit::Ok).map_err(failure) }
}

fn print(args: &CheckArgs, plan: Result<Plan, RecipeError>) -> Result<Exit, Failure> {
    let plan = plan.map_err(failure)?;
    let text = if args.json {
        let json = serde_json::to_string_pretty(&plan).expect("a plan is plain data");
        format!("{json}\n")
    } else {
        plan.to_text()
    };
    output::print(&text)?;
    Ok(Exit::Ok)
}
