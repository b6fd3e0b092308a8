//! `check` says what would be built.

use rectool_embedding::RowsFrom;

use super::data::{Fixture, SMALL, made_up, shipped};
use crate::{RecipeOptions, check};

#[test]
fn shapes_rows_and_bytes_are_planned() {
    let fixture = Fixture::new();
    let plan = check(&fixture.recipe(SMALL, &["epochs=2"]), 4).unwrap();
    let training = &plan.trainings[0];
    let layers: Vec<(&str, usize, usize)> =
        training.layers.iter().map(|(name, from, to)| (name.as_str(), *from, *to)).collect();
    // Four vectors have six pairs; the bottom's output is read too.
    let expected = [("bottom.0", 2, 8), ("bottom.1", 8, 4), ("top.0", 10, 16), ("top.1", 16, 1)];
    assert_eq!(layers, expected);
    assert_eq!(training.dense_parameters, 24 + 36 + 176 + 17);
    let tables: Vec<(&str, Option<u64>)> =
        training.tables.iter().map(|table| (table.name.as_str(), table.rows_max)).collect();
    assert_eq!(tables, [("user", Some(20)), ("item", Some(30)), ("genres", Some(9))]);
    // Header, four values, four accumulators and the hash entry.
    assert_eq!(training.table_bytes(), 59 * (8 + 8 * 4 + 16));
    assert_eq!(training.dense_bytes, 253 * 16);
    assert_eq!((training.steps_per_epoch, training.steps_total), (40, 80));
    assert_eq!(plan.evaluations, ["test"]);
    let text = plan.to_text();
    for part in ["on 4 ranks", "user", "steps: 40 per epoch of 100 samples, 80 in all", "(set)"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn dense_tables_and_modulo_bound_rows() {
    let fixture = Fixture::new();
    let script = SMALL.replace(
        "[\"ids\", \"genres\"]",
        "[\"ids\", \"genres\"], tables: #{user: #{index: \"dense\"}}",
    );
    let script = script.replace("[log1p(\"dense\")]", "[modulo(\"genres\", 4)]");
    let plan = check(&fixture.recipe(&script, &[]), 1).unwrap();
    let tables: Vec<(&str, Option<u64>)> = plan.trainings[0]
        .tables
        .iter()
        .map(|table| (table.index.as_str(), table.rows_max))
        .collect();
    assert_eq!(tables, [("dense", Some(20)), ("hash", Some(30)), ("hash", Some(5))]);
}

#[test]
fn shipped_recipes_plan_on_any_data() {
    let fixture = Fixture::new();
    let data = format!("data={}", fixture.data());
    let options = |recipe: &str, set: &[&str]| {
        let set = [data.as_str()].iter().chain(set).map(|pair| (*pair).to_owned()).collect();
        let (recipe, calibrate) = (shipped(recipe), made_up());
        RecipeOptions { recipe, set, calibrate, ..RecipeOptions::default() }
    };
    let set = ["batch_size=64", "embedding_dim=8"];
    let plan = check(&options("scripts/dlrm.rhai", &set), 2).unwrap();
    assert_eq!(plan.trainings[0].tables.len(), 2);
    let set = ["dense=[]", r#"ids=["user","genres"]"#, "bottom=[]", "ids_max=0"];
    let plan = check(&options("scripts/dlrm.rhai", &set), 2).unwrap();
    assert_eq!(plan.trainings[0].layers.len(), 3);
    let error = check(&options("scripts/ml1m_ctr.rhai", &[]), 1).unwrap_err();
    assert!(error.to_string().contains("'ids' names 'user_id'"), "{error}");
    for recipe in ["scripts/dlrm.rhai", "scripts/ml1m_ctr.rhai"] {
        let text = std::fs::read_to_string(shipped(recipe)).unwrap();
        assert!(text.lines().count() <= 64, "{recipe} is too long to read at a glance");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{recipe} has long lines");
    }
}

#[test]
fn hashed_texts_in_lists_have_no_bound() {
    let fixture = Fixture::new();
    let manifest = fixture.path("clicks/dataset.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["ids"]["genres"]["min"][0] = i64::MIN.into();
    value["ids"]["genres"]["max"][0] = i64::MAX.into();
    std::fs::write(&manifest, value.to_string()).unwrap();
    let plan = check(&fixture.recipe(SMALL, &[]), 3).unwrap();
    assert_eq!(plan.trainings[0].tables[2].rows_max, None);
    // A sample says how many there will be.
    let placed = &plan.trainings[0].placement.plan.tables[2];
    assert_eq!((placed.rows, placed.rows_from), (9, RowsFrom::Sample));
    assert!(plan.to_text().contains("`rows_expected` says better"), "{}", plan.to_text());
}
