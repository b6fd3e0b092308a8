//! Published results on real data, where the data is at hand.

use crate::harness::{Dir, real_data};

/// MovieLens-1M as click-through ranking: FM reaches 0.8935, DeepFM 0.8997.
#[test]
fn movielens_ranking_reaches_published_auc() {
    let Some(data) = real_data("ml-1m-ctr") else { return };
    let dir = Dir::new();
    let mut words: Vec<String> = ["data", "import", "csv"].map(str::to_owned).to_vec();
    for split in ["train", "valid", "test"] {
        let file = data.join(format!("{split}.tsv.gz"));
        words.extend(["--split".to_owned(), format!("{split}={}", file.display())]);
    }
    let columns = "user_id,movie_id,gender,age,occupation,year";
    let rest = ["--label", "label", "--ids", columns, "--lists", "genres", "--out", "ml1m"];
    words.extend(rest.map(str::to_owned));
    dir.rectool(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect_success();
    let script = Dir::script("ml1m_ctr.rhai");
    dir.rectool(&["run", &script, "--set", "data=ml1m", "--run-dir", "out"]).expect_success();
    let auc = dir.result("out")["metrics"]["test_auc"].as_f64().unwrap();
    assert!(auc >= 0.893, "test AUC {auc}");
}

/// Last.fm in the split of Neural Collaborative Filtering: a hit rate of 0.885 among 10 of 100 is
/// published.
#[test]
fn lastfm_retrieval_reaches_published_hit_rate() {
    let Some(data) = real_data("ncf-lastfm") else { return };
    let dir = Dir::new();
    let folder = data.display().to_string();
    dir.rectool(&["data", "import", "ncf", &folder, "--out", "lastfm"]).expect_success();
    let script = Dir::script("two_tower.rhai");
    let run = ["run", &script, "--set", "data=lastfm", "--set", "negatives=negatives"];
    dir.rectool(&[&run[..], &["--run-dir", "out"]].concat()).expect_success();
    let hit_rate = dir.result("out")["metrics"]["test_sampled_hit_rate@10"].as_f64().unwrap();
    assert!(hit_rate >= 0.885, "hit rate {hit_rate}");
}
