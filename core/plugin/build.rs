//! Rebuilds the crate when a file comes or goes below `sdk/`, which is embedded whole.

fn main() {
    println!("cargo::rerun-if-changed=../../sdk");
}
