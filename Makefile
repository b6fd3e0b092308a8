# `make demo` trains a model, `make test` runs every test. Both set up what is missing first.

RECTOOL := target/release/rectool
DEMO_ROWS := 500000

.PHONY: demo test setup build clean-demo

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

clean-demo:
	rm -rf data/demo runs
