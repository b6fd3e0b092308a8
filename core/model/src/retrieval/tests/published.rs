//! Figures of real data, where it lies beside the checkout.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rectool_comm::Solo;

use crate::Compute;
use crate::retrieval::{
    Als, AlsOptions, Interactions, ItemKnn, ItemKnnOptions, MostPopular, RetrievalOptions,
    RetrievalTask, SampledCase, Scorer, VectorScorer, evaluate_retrieval, evaluate_sampled,
};

fn real_data(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = root.ancestors().skip(3).map(|above| above.join("shared/data").join(name));
    let found = places.find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no shared/data/{name} beside the checkout");
    }
    found
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        { file }.read_to_string(&mut text).unwrap();
    }
    text
}

fn numbers(line: &str) -> Vec<i64> {
    line.split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().unwrap())
        .collect()
}

/// Lines of a user and its items.
fn lists(path: &Path) -> Interactions {
    let text = text(path);
    let pairs = text.lines().flat_map(|line| {
        let line = numbers(line);
        line[1..].iter().map(|item| (line[0], *item)).collect::<Vec<_>>()
    });
    Interactions::new(pairs.collect()).unwrap()
}

/// Lines of a user, an item and more.
fn pairs(path: &Path) -> Interactions {
    let pair = |line: &str| (numbers(line)[0], numbers(line)[1]);
    Interactions::new(text(path).lines().map(pair).collect()).unwrap()
}

fn assert_near(what: &str, found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() < within, "{what}: found {found:.4}, expected {expected:.4}");
}

#[test]
fn full_ranking_of_movielens() {
    let Some(folder) = real_data("ml-1m-lcfn") else { return };
    let [train, test] = ["train.txt.gz", "test.txt.gz"].map(|name| lists(&folder.join(name)));
    let catalogue = train.items().union(test.items());
    let task = RetrievalTask::new(&train, &test, &catalogue);
    let (train, _) = train.renumbered(train.users(), &catalogue);
    let judge = |scorer: &dyn Scorer| {
        let options = RetrievalOptions { ks: vec![20], seed: 1 };
        let found = evaluate_retrieval(&Solo, &task, scorer, &options).unwrap().metrics;
        ["recall@20", "ndcg@20"].map(|name| found[name].mean)
    };
    let popular = judge(&MostPopular::new(&task.popularity));
    assert_near("recall of popularity", popular[0], 0.1161, 5e-4);
    assert_near("ndcg of popularity", popular[1], 0.1176, 5e-4);
    let als = Als::fit(&train, AlsOptions::default()).unwrap();
    let users = als.user_vectors(&task.seen);
    let als = VectorScorer::new(&users, als.item_vectors(), 64, Compute::Fused).unwrap();
    let als = judge(&als);
    // An untuned ALS of unknown settings reached 0.2655 and 0.2412.
    assert!(als[0] > 0.2655 && als[0] < 0.285 && als[1] > 0.2412 && als[1] < 0.27, "ALS {als:?}");
    println!("recall@20 and ndcg@20 of ALS: {als:?}");
    let knn = ItemKnn::fit(&train, ItemKnnOptions::default());
    let knn = judge(&knn.scorer(&task.seen));
    println!("recall@20 and ndcg@20 of neighbours: {knn:?}");
    assert!(knn[0] > 1.5 * popular[0] && knn[0] < 0.30, "recall of neighbours {knn:?}");
}

/// HR@10 and NDCG@10 of popularity and of ALS among the listed negatives.
fn sampled(folder: &Path, prefix: &str) -> [[f64; 2]; 2] {
    let train = pairs(&folder.join(format!("{prefix}.train.rating.gz")));
    let test = pairs(&folder.join(format!("{prefix}.test.rating")));
    let listed = text(&folder.join(format!("{prefix}.test.negative.gz")));
    let listed: Vec<Vec<i64>> = listed.lines().map(numbers).collect();
    let all = Interactions::new(
        listed.iter().flat_map(|line| line[1..].iter().map(|item| (line[0], *item))).collect(),
    )
    .unwrap();
    let catalogue = train.items().union(test.items()).union(all.items());
    let task = RetrievalTask::new(&train, &test, &catalogue);
    let index = |item: i64| catalogue.index(item).unwrap();
    let cases: Vec<SampledCase> = (listed.iter())
        .map(|line| SampledCase {
            user: task.users().index(line[0]).unwrap(),
            positive: index(line[1]),
            negatives: line[2..].iter().map(|item| index(*item)).collect(),
        })
        .collect();
    let judge = |scorer: &dyn Scorer| {
        let options = RetrievalOptions { ks: vec![10], seed: 1 };
        let found = evaluate_sampled(&Solo, &task, &cases, scorer, &options).unwrap().metrics;
        ["sampled_hit_rate@10", "sampled_ndcg@10"].map(|name| found[name].mean)
    };
    let (train, _) = train.renumbered(train.users(), &catalogue);
    let als = Als::fit(&train, AlsOptions::default()).unwrap();
    let users = als.user_vectors(&task.seen);
    let als = VectorScorer::new(&users, als.item_vectors(), 64, Compute::Fused).unwrap();
    let als = judge(&als);
    [judge(&MostPopular::new(&task.popularity)), als]
}

#[test]
fn movielens_among_sampled_negatives() {
    let Some(folder) = real_data("ml-1m-ncf") else { return };
    let [popular, als] = sampled(&folder, "ml-1m");
    assert_near("hit rate of popularity", popular[0], 0.4538, 0.002);
    assert_near("ndcg of popularity", popular[1], 0.2543, 0.002);
    println!("hit rate and ndcg of ALS: {als:?}, of popularity: {popular:?}");
    assert_near("hit rate of ALS", als[0], 0.7227, 0.008);
    assert_near("ndcg of ALS", als[1], 0.4449, 0.008);
}

#[test]
fn lastfm_among_sampled_negatives() {
    let Some(folder) = real_data("ncf-lastfm") else { return };
    let [popular, als] = sampled(&folder, "lastfm");
    assert_near("hit rate of popularity", popular[0], 0.6646, 0.01);
    assert_near("ndcg of popularity", popular[1], 0.3866, 0.01);
    println!("hit rate and ndcg of ALS: {als:?}, of popularity: {popular:?}");
    assert_near("hit rate of ALS", als[0], 0.8886, 0.012);
    assert_near("ndcg of ALS", als[1], 0.5997, 0.012);
}
