//! `rectool check`: plans what a recipe says, without training.

use rectool_comm::Launched;

use crate::failure::{Exit, Failure};
use crate::output;
use crate::run::{RecipeArgs, failure};

/// Options of `rectool check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// Plan for this many ranks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    ranks: u32,

    /// Print the plan as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the plan, or what is wrong with the recipe.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    // Nothing is said between ranks, so one of them is enough.
    if Launched::from_environment().is_some_and(|launched| launched.rank > 0) {
        return Ok(Exit::Ok);
    }
    let plan = rectool_recipe::check(&args.recipe.options(), args.ranks as usize);
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
