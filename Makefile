# `make demo` trains a model, `make test` runs every test. Both set up what is missing first.

RECTOOL := target/release/rectool
DEMO_ROWS := 500000

.PHONY: demo test setup build clean-demo miri

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

# The index, the sketch, distinct keys, rows and optimizers under an interpreter that sees undefined behaviour (a minute).
# Needs `rustup toolchain install nightly --component miri,rust-src`.
miri:
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 PROPTEST_DISABLE_FAILURE_PERSISTENCE=true \
	cargo +nightly miri test -p rectool-embedding --lib -- index::buckets index::rows index::tests::more \
	index::tests::plain a_full_bucket row:: rule:: distinct::

clean-demo:
	rm -rf data/demo runs
