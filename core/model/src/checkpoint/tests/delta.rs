//! Deltas: what they hold, what they need, and what they come to.

use std::fs;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::Solo;

use super::{Fixture, content, short, write_sealed};
use crate::checkpoint::{ExportColumns, ExportFormat};
use crate::{Checkpoint, ModelError, latest};

#[test]
fn base_and_deltas_come_to_the_whole_checkpoint() {
    let fixture = Fixture::new();
    fixture.train(&short(0), "full");
    fixture.train(&short(3), "delta");
    let steps = [5, 10, 15, 20, 25, 30];
    assert_eq!(fixture.steps("delta"), steps);
    // Five deltas would be in two chains; the last checkpoint stands alone.
    let sequences = [0, 1, 2, 0, 1, 0];
    let mut smaller = false;
    for (step, sequence) in steps.into_iter().zip(sequences) {
        let (full, chain) = (fixture.chain("full", step), fixture.chain("delta", step));
        let manifest = chain.head().manifest();
        assert_eq!(manifest.delta.as_ref().map_or(0, |delta| delta.sequence), sequence);
        assert_eq!(chain.links().len(), 1 + sequence as usize);
        let rows = |chain: &super::Chain| chain.head().manifest().tables[0].rows;
        smaller |= rows(&chain) < rows(&full);
        let diff = full.diff(&chain).unwrap();
        assert!(diff.equal, "step {step}: {diff:?}");
        let out = |name: &str| fixture.path(&format!("{name}-{step}"));
        full.reshard(1, &out("a")).unwrap();
        chain.reshard(1, &out("b")).unwrap();
        assert_eq!(content(&out("a")), content(&out("b")), "step {step}");
        for format in [ExportFormat::Parquet, ExportFormat::Arrow, ExportFormat::Safetensors] {
            let export = |chain: &super::Chain, name: &str| {
                let out = fixture.path(&format!("{name}-{step}-{format:?}"));
                chain.export("item", format, ExportColumns::All, &out).unwrap();
                fs::read(out).unwrap()
            };
            assert_eq!(export(&full, "a"), export(&chain, "b"), "step {step}, {format:?}");
        }
    }
    assert!(smaller, "no delta is smaller than the whole");
}

#[test]
fn resumed_from_a_delta_equals_uninterrupted() {
    let fixture = Fixture::new();
    fixture.train(&short(4), "whole");
    let mut half = short(4);
    half.steps_max = 16;
    fixture.train(&half, "halves");
    // The killed run never came to its last checkpoint.
    fs::remove_dir_all(fixture.path("halves/step-00000016")).unwrap();
    let last = fixture.checkpoint("halves", 15);
    assert_eq!(last.manifest().delta.as_ref().unwrap().sequence, 2);
    let mut ranker = fixture.ranker(Arc::new(Solo));
    let state = last.load(&mut ranker).unwrap();
    fixture.fit(&mut ranker, &short(4), "halves", Some(state));
    assert_eq!(content(&fixture.path("whole")), content(&fixture.path("halves")));
}

#[test]
fn removed_keys_are_gone_with_the_delta() {
    let fixture = Fixture::new();
    for (name, full_every) in [("full", 0), ("delta", 5)] {
        let mut how = short(full_every);
        how.steps_max = 10;
        let mut ranker = fixture.ranker(Arc::new(Solo));
        fixture.fit(&mut ranker, &how, name, None);
        let users: Vec<u64> = (0..9).collect();
        assert!(ranker.tables.remove(0, &users).unwrap() > 5);
        let state = fixture.checkpoint(name, 10).manifest().state.clone();
        how.steps_max = 16;
        fixture.fit(&mut ranker, &how, name, Some(state));
    }
    let (full, delta) = (fixture.chain("full", 15), fixture.chain("delta", 15));
    // Some came back, some did not.
    let [user, item] = &delta.head().manifest().tables[..] else { panic!("two tables") };
    assert!(user.removed > 0 && user.rows > 0 && item.removed == 0, "{user:?}, {item:?}");
    assert!(delta.head().path().join("tables/user/removed-00000.arrow").exists());
    let diff = full.diff(&delta).unwrap();
    assert!(diff.equal, "{diff:?}");
    assert_eq!(diff.tables[0].rows_equal, user.rows);
    let mut ranker = fixture.ranker(Arc::new(Solo));
    delta.head().load(&mut ranker).unwrap();
    assert_eq!(ranker.tables.tables()[0].rows as u64, user.rows);
}

#[test]
fn what_a_kept_delta_needs_is_kept() {
    let fixture = Fixture::new();
    let mut how = short(4);
    how.checkpoints_kept = 2;
    fixture.train(&how, "kept");
    // Both stand alone: a base is due after four.
    assert_eq!(fixture.steps("kept"), [25, 30]);
    how.checkpoint_full_every = 3;
    how.steps_max = 24;
    fixture.train(&how, "chain");
    // 20 and 24 stand alone.
    assert_eq!(fixture.steps("chain"), [20, 24]);
    how.checkpoint_full_every = 10;
    fixture.train(&how, "long");
    // 20 builds on all before it.
    assert_eq!(fixture.steps("long"), [5, 10, 15, 20, 24]);
    fixture.chain("long", 20).verify_rows().unwrap();
}

#[test]
fn a_broken_chain_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.train(&short(10), "run");
    let path = |step: u64| fixture.path(&format!("run/step-{step:08}"));
    let error = |step: u64| {
        let error = fixture.checkpoint("run", step).chain().unwrap_err();
        assert!(matches!(error, ModelError::Delta { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("ckpt reshard")));
        error.to_string()
    };
    let away = fixture.path("away");
    // A gap.
    fs::rename(path(15), &away).unwrap();
    let text = error(20);
    assert!(text.contains("step-00000020") && text.contains("nothing there"), "{text}");
    assert!(text.contains("step-00000015"), "{text}");
    // What cannot be loaded is refused before anything is touched.
    let mut ranker = fixture.ranker(Arc::new(Solo));
    assert!(fixture.checkpoint("run", 25).load(&mut ranker).is_err());
    fixture.chain("run", 10).verify_rows().unwrap();
    // Another checkpoint in its place.
    super::copy(&path(10), &path(15));
    let text = error(20);
    assert!(text.contains("parent step-00000015: identity"), "{text}");
    fs::remove_dir_all(path(15)).unwrap();
    fs::rename(&away, path(15)).unwrap();
    fixture.chain("run", 25).verify_rows().unwrap();
    // Numbers that do not follow each other.
    let manifest = path(20).join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    for (from, to, what) in [
        ("\"sequence\": 3", "\"sequence\": 4", "`sequence`: found 2, expected one less than 4"),
        ("\"since_step\": 15", "\"since_step\": 14", "`table_steps`: found 15, expected 14"),
    ] {
        assert!(text.contains(from), "{text}");
        write_sealed(&manifest, &text.replace(from, to));
        assert!(error(20).contains(what), "{}", error(20));
    }
    fs::write(&manifest, &text).unwrap();
    fixture.chain("run", 20).verify_rows().unwrap();
}

#[test]
fn what_a_killed_process_left_is_cleared_away() {
    let fixture = Fixture::new();
    fixture.train(&short(3), "run");
    let folder = fixture.path("run");
    let steps = fixture.steps("run");
    super::copy(&folder.join("step-00000010"), &folder.join(".writing-step-00000040"));
    fs::remove_file(folder.join(".writing-step-00000040/manifest.json")).unwrap();
    super::copy(&folder.join("step-00000010"), &folder.join(".removing-step-00000001"));
    // It had made way for a checkpoint that was not renamed any more.
    fs::rename(folder.join("step-00000015"), folder.join(".replaced-step-00000015")).unwrap();
    super::copy(&folder.join("step-00000020"), &folder.join(".replaced-step-00000020"));
    super::super::staging::clean(&folder).unwrap();
    assert_eq!(fixture.steps("run"), steps);
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_str().unwrap().starts_with('.')));
    assert_eq!(latest(&folder), Some(folder.join("step-00000030")));
    for step in steps {
        fixture.chain("run", step).verify_rows().unwrap();
    }
}

#[test]
fn a_checkpoint_says_which_recipe_made_it() {
    let fixture = Fixture::new();
    fixture.train(&short(2), "run");
    let checkpoint = Checkpoint::open(&latest(&fixture.path("run")).unwrap()).unwrap();
    let recipe = checkpoint.manifest().recipe.as_ref().unwrap();
    assert_eq!((&*recipe.name, recipe.xxh3.len()), ("short.rhai", 16));
}
