//! Whole evaluations: by hand, over ranks, and at the edges.

use std::path::Path;

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Jagged, Schema};
use rectool_comm::{Solo, on_ranks};
use rectool_data::{Dataset, DatasetWriter, WriterOptions};
use tch::Device;

use crate::Compute;
use crate::retrieval::{
    Interactions, RetrievalError, RetrievalOptions, RetrievalTask, SampledCase, VectorScorer,
    draw_cases, evaluate_retrieval, evaluate_sampled, read_cases,
};

fn fused<'a>(users: &'a [f32], items: &'a [f32], width: usize) -> VectorScorer<'a> {
    VectorScorer::new(users, items, width, Compute::Fused).unwrap()
}

fn options(ks: &[usize]) -> RetrievalOptions {
    RetrievalOptions { ks: ks.to_vec(), seed: 1 }
}

/// Three users and four items; user 3 has no history, user 2's item 99 is in no catalogue.
fn small() -> RetrievalTask {
    let train = Interactions::new(vec![(1, 10), (1, 11), (2, 10), (8, 13)]).unwrap();
    let test = Interactions::new(vec![(1, 12), (2, 11), (2, 99), (3, 10)]).unwrap();
    let catalogue = crate::Ids::new(vec![10, 11, 12, 13]);
    RetrievalTask::new(&train, &test, &catalogue)
}

#[test]
fn a_task_worked_by_hand() {
    let task = small();
    // One number per vector: every user's order is 10, 11, 12, 13.
    let (users, items) = ([1.0; 3], [4.0, 3.0, 2.0, 1.0]);
    let scorer = fused(&users, &items, 1);
    let found = evaluate_retrieval(&Solo, &task, &scorer, &options(&[1, 9])).unwrap();
    assert_eq!((found.users, found.users_left_out, found.positives_beyond), (3, 0, 1));
    let mean = |name: &str| found.metrics[name].mean;
    // Lists without what was seen: 12 13 | 11 12 13 | 10 11 12 13: all first places are hits.
    assert_eq!((mean("recall@1"), mean("hit_rate@1"), mean("mrr@1")), (2.5 / 3.0, 1.0, 1.0));
    let two = 1.0 + 1.0 / 3f64.log2();
    assert!((mean("ndcg@9") - (2.0 + 1.0 / two) / 3.0).abs() < 1e-12);
    assert!((mean("map@9") - 2.5 / 3.0).abs() < 1e-12);
    assert_eq!((found.coverage["coverage@1"], found.coverage["coverage@9"]), (0.75, 1.0));
    // Counts 2 1 0 1: first places are items of 0, 1 and 2 users.
    assert!((mean("popularity_log@1") - (2f64.ln() + 3f64.ln()) / 3.0).abs() < 1e-12);
    let names: Vec<&str> = found.segments.iter().map(|part| part.segment.as_str()).collect();
    assert_eq!(names, ["head items", "torso items", "tail items", "new users", "1-10 seen"]);
    assert!(found.segments.iter().all(|part| part.metrics["recall@9"].mean > 0.0));
}

/// A random task, and vectors of 8 values for its users and items.
fn random() -> (RetrievalTask, Vec<f32>, Vec<f32>) {
    let mut stream = rectool_base::Stream::new(5, &[]);
    let mut pairs = |count: usize| -> Vec<(i64, i64)> {
        (0..count).map(|_| (stream.below(40) as i64, stream.below(90) as i64)).collect()
    };
    let train = Interactions::new(pairs(600)).unwrap();
    let test = Interactions::new(pairs(150)).unwrap();
    let catalogue = train.items().union(test.items());
    let task = RetrievalTask::new(&train, &test, &catalogue);
    let mut normal =
        |count: usize| -> Vec<f32> { (0..count).map(|_| stream.next_normal()).collect() };
    let (users, items) = (normal(task.users().len() * 8), normal(catalogue.len() * 8));
    (task, users, items)
}

#[test]
fn a_device_finds_the_same_figures() {
    let (task, users, items) = random();
    let on = |compute, ranks| {
        on_ranks(ranks, |comm| {
            let scorer = VectorScorer::new(&users, &items, 8, compute).unwrap();
            evaluate_retrieval(&*comm, &task, &scorer, &options(&[5, 20, 99])).unwrap()
        })
    };
    let expected = on(Compute::Fused, 1);
    for ranks in [1, 2] {
        let found = on(Compute::Tensor(Device::Cpu), ranks);
        assert!(found.iter().all(|found| *found == expected[0]), "{ranks} ranks");
    }
}

#[test]
fn a_device_that_refuses_is_named() {
    // The libtorch in use has no Vulkan.
    let error = VectorScorer::new(&[1.0], &[1.0], 1, Compute::Tensor(Device::Vulkan)).unwrap_err();
    let (text, hint) = (error.to_string(), error.hint().unwrap());
    assert!(text.starts_with("copying 1 vectors of 1 values on `vulkan`: "), "{text}");
    assert!(text.lines().count() == 1 && hint.contains("`--device cpu`"), "{text} {hint}");
}

#[test]
fn ranks_do_not_change_a_bit() {
    let (task, users, items) = random();
    let (options, cases) = (options(&[5, 20]), draw_cases(&task, 20, 9));
    let on = |ranks| {
        on_ranks(ranks, |comm| {
            let scorer = fused(&users, &items, 8);
            let full = evaluate_retrieval(&*comm, &task, &scorer, &options).unwrap();
            (full, evaluate_sampled(&*comm, &task, &cases, &scorer, &options).unwrap())
        })
    };
    let one = on(1);
    for ranks in [2, 4] {
        assert!(on(ranks).iter().all(|found| *found == one[0]), "{ranks} ranks");
    }
}

#[test]
fn a_sampled_case_worked_by_hand() {
    let task = small();
    let (users, items) = ([1.0; 3], [4.0, 3.0, 2.0, 2.0]);
    let scorer = fused(&users, &items, 1);
    // Item 12 (number 2) ties with 13, which ranks before it; itself as a negative is dropped.
    let case =
        |negatives: &[u32]| SampledCase { user: 0, positive: 2, negatives: negatives.to_vec() };
    let judge = |case| evaluate_sampled(&Solo, &task, &[case], &scorer, &options(&[2])).unwrap();
    let found = judge(case(&[3, 2]));
    assert_eq!(found.metrics["sampled_hit_rate@2"].mean, 1.0);
    assert!((found.metrics["sampled_ndcg@2"].mean - 1.0 / 3f64.log2()).abs() < 1e-12);
    assert_eq!(judge(case(&[3, 1])).metrics["sampled_hit_rate@2"].mean, 0.0);
}

#[test]
fn drawn_negatives_are_distinct_and_unknown() {
    let task = small();
    let cases = draw_cases(&task, 99, 4);
    assert_eq!(cases, draw_cases(&task, 99, 4));
    let mut negatives: Vec<Vec<u32>> = cases.into_iter().map(|case| case.negatives).collect();
    for drawn in &mut negatives {
        drawn.sort_unstable();
    }
    assert_eq!(negatives, [vec![3], vec![2, 3], vec![1, 2, 3]]);
}

#[test]
fn edges_are_errors() {
    let task = small();
    let (users, items) = ([1.0; 3], [1.0; 4]);
    let scorer = fused(&users, &items, 1);
    for ks in [&[][..], &[10, 0]] {
        let error = evaluate_retrieval(&Solo, &task, &scorer, &options(ks)).unwrap_err();
        assert!(matches!(error, RetrievalError::CutOff { .. }) && error.hint().is_some());
    }
    let none = Interactions::new(Vec::new()).unwrap();
    let empty = RetrievalTask::new(&none, &none, &crate::Ids::new(vec![10, 11, 12, 13]));
    let error = evaluate_retrieval(&Solo, &empty, &scorer, &options(&[1])).unwrap_err();
    assert!(matches!(error, RetrievalError::Empty { users: 0 }));
    let error = evaluate_sampled(&Solo, &empty, &[], &scorer, &options(&[1])).unwrap_err();
    assert!(matches!(error, RetrievalError::Empty { .. }));
    let broken = fused(&[f32::NAN; 3], &items, 1);
    let error = evaluate_retrieval(&Solo, &task, &broken, &options(&[2])).unwrap_err();
    assert!(matches!(error, RetrievalError::Score { user: 1 }));
    let error = evaluate_sampled(&Solo, &task, &draw_cases(&task, 9, 1), &broken, &options(&[1]))
        .unwrap_err();
    assert!(matches!(error, RetrievalError::Score { user: 1 }));
}

fn dataset(folder: &Path) -> Dataset {
    let schema = Schema::new(vec![
        ColumnSchema::plain("user", ColumnKind::I64 { width: 1 }),
        ColumnSchema::plain("rating", ColumnKind::F32 { width: 1 }),
        ColumnSchema::plain("item", ColumnKind::I64 { width: 1 }),
        ColumnSchema::plain("negatives", ColumnKind::I64List),
    ])
    .unwrap();
    let path = folder.join("data");
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    let ids = |values: &[i64]| Column::I64 { width: 1, values: values.to_vec() };
    let ratings = Column::F32 { width: 1, values: vec![5.0, 0.0, 5.0] };
    let mut lists = Jagged::new();
    for list in [&[1, 3][..], &[], &[2]] {
        lists.push_row(list);
    }
    let columns = vec![ids(&[7, 5, 7]), ratings, ids(&[2, 1, 2]), Column::I64List(lists)];
    writer.write("train", columns).unwrap();
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

#[test]
fn columns_of_a_split_become_interactions() {
    let folder = tempfile::tempdir().unwrap();
    let split = dataset(folder.path()).split("train").unwrap();
    let found = Interactions::read(&[&split], ("user", "item"), None).unwrap();
    assert_eq!(found, Interactions::new(vec![(7, 2), (5, 1)]).unwrap());
    let error = Interactions::read(&[&split], ("user", "itme"), None).unwrap_err();
    assert!(matches!(error, RetrievalError::Data(_)) && error.hint().is_some());
    let error = Interactions::read(&[&split], ("user", "rating"), None).unwrap_err();
    assert!(error.to_string().contains("`rating`"), "{error}");
    let twice = Interactions::read(&[&split, &split], ("user", "item"), None).unwrap();
    assert_eq!(twice, found);
    // The label of one pair's row is 0.
    let chosen = Interactions::read(&[&split], ("user", "item"), Some("rating")).unwrap();
    assert_eq!(chosen.pairs(), 1, "{chosen:?}");
}

#[test]
fn listed_negatives_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let split = dataset(folder.path()).split("train").unwrap();
    let test = Interactions::read(&[&split], ("user", "item"), None).unwrap();
    let read = |catalogue: &[i64], negatives| {
        let catalogue = crate::Ids::new(catalogue.to_vec());
        let task = RetrievalTask::new(&test, &test, &catalogue);
        read_cases(&split, ["user", "item", negatives], &task)
    };
    let case = |user, positive, negatives: &[u32]| SampledCase {
        user,
        positive,
        negatives: negatives.to_vec(),
    };
    let found = read(&[1, 2, 3], "negatives").unwrap();
    assert_eq!(found, [case(1, 1, &[0, 2]), case(0, 0, &[]), case(1, 1, &[1])]);
    let error = read(&[1, 2], "negatives").unwrap_err();
    let expected = "split `train`, row 0: item 3 is not one of the catalogue's items";
    assert_eq!(error.to_string(), expected);
    let error = read(&[1, 2, 3], "rating").unwrap_err();
    assert!(matches!(error, RetrievalError::ColumnType { .. }) && error.hint().is_some());
}
