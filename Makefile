# `make demo` trains a model, `make test` runs every test. Both set up what is missing first.

RECTOOL := target/release/rectool
DEMO_ROWS := 500000

.PHONY: demo test setup build clean-demo miri fuzz

demo: build
	@test -f data/demo/dataset.json || $(RECTOOL) data synth criteo --rows $(DEMO_ROWS) --seed 1 --out data/demo
	$(RECTOOL) run scripts/dlrm.rhai --set data=data/demo

build: setup
	cargo build --release

test:
	@.ci/setup --python
	cargo test --workspace

setup:
	@.ci/setup

# Under an interpreter that sees undefined behaviour and data races: the index, distinct keys, slabs, rows and optimizers; then whole
# tables in lookups, training and checkpoints on three threads (two minutes). Needs `rustup toolchain install nightly --component miri,rust-src`.
# Rayon's threads outlive a test, and its queues keep the rules of tree borrows, but not of stacked ones.
MIRI := PROPTEST_CASES=4 PROPTEST_DISABLE_FAILURE_PERSISTENCE=true cargo +nightly miri test -p rectool-embedding --lib --
miri:
	MIRIFLAGS=-Zmiri-disable-isolation $(MIRI) index::buckets index::rows index::tests::more index::tests::plain \
	a_full_bucket row:: rule:: distinct:: slab::
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-num-cpus=3" $(MIRI) tests::single::sgd \
	tests::single::evaluation tests::single::keys tests::pooling::e tests::pooling::sequences tests::checkpoint::headers tests::checkpoint::removed \
	tests::checkpoint::rows_that tests::admission::a_key tests::storage::a_row

# Whatever a fuzzer makes of the files of a checkpoint, read; see `tests/fuzz/checkpoint.rs`. Needs `rustup toolchain install nightly` and
# `cargo install cargo-fuzz`. Each file of a small checkpoint is a seed; what is found stays in `tests/fuzz/`.
FUZZ_SECONDS := 300
fuzz: setup
	cp Cargo.lock tests/fuzz/
	mkdir -p tests/fuzz/corpus/checkpoint
	cd tests/checkpoints/version-1 && number=0 && for file in $$(find . -type f | LC_ALL=C sort); do \
		seed=../../fuzz/corpus/checkpoint/seed-$$number; \
		printf "\\$$(printf %03o $$number)" >$$seed && cat $$file >>$$seed && number=$$((number + 1)); done
	cd tests/fuzz && LD_LIBRARY_PATH=../../.libtorch/lib cargo +nightly fuzz run --fuzz-dir . --sanitizer none checkpoint -- \
		-max_total_time=$(FUZZ_SECONDS) -max_len=65536

clean-demo:
	rm -rf data/demo runs
