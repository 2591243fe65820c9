# `make demo` and `make test` need Python 3.11 or newer and make; they bring
# the rest themselves, into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# constraints.txt serves every Python from 3.11 on; PYTHON=... takes another one.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,\
  $(shell command -v $(p) 2>/dev/null)))
# More options for pip, such as --extra-index-url for CPU builds of PyTorch.
PIP_FLAGS ?=
# A folder of videos: for the demo to caption, for real-pixels to learn.
VIDEOS ?=
# A checkout of earlier code, for bench-startup.
BEFORE ?=
# More arguments for pytest or the benchmark: make test ARGS='-k optim -x'.
ARGS ?=
# Processes that run tests; a file's tests share one, and its fixtures.
WORKERS ?= 2
SIZE ?= full

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet \
  $(PIP_FLAGS) -c constraints.txt

.PHONY: help demo tables real-pixels test test-fast test-slow test-faults \
  test-beam test-wheel install-test lint resolve format bench-gpu bench-decode \
  bench-feed bench-startup bench-memory bench-transformers clean

help: ## list the targets
	@echo 'make TARGET, with TARGET one of'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile \
	  | while IFS='|' read -r name text; do \
	      printf '  %-19s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## the whole recipe in miniature; VIDEOS=DIR captions yours
	$(BIN)/python -m vidlm.miniature demo --output=runs/demo \
	  $(if $(VIDEOS),--videos="$(VIDEOS)") $(ARGS)

tables: $(VENV)/.demo ## the paper's tables in miniature, three seeds; resumable
	$(BIN)/python -m vidlm.miniature tables --output=runs/tables \
	  --seeds=0,1,2 $(ARGS)

real-pixels: $(VENV)/.demo ## both models from scratch on your clips; VIDEOS=DIR
	@test -n '$(VIDEOS)' || { echo 'give VIDEOS=DIR, a folder of videos with' \
	  'captions.jsonl (clip_id, path, caption)' >&2; exit 1; }
	$(BIN)/python -m vidlm.miniature real_pixels --output=runs/real_pixels \
	  --videos="$(VIDEOS)" $(ARGS)

test: $(VENV)/.test ## the tests, as CI runs them; ARGS='-k name'
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder --durations=25 \
	  -m 'not slow and not alone' $(ARGS) || [ $$? = 5 ]
	$(BIN)/python -m pytest --durations=25 -m 'alone and not slow' $(ARGS) \
	  || [ $$? = 5 ]

test-fast: $(VENV)/.test ## the quickest test files, an answer in two minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder --fast --durations=5 \
	  -m 'not slow and not alone' $(ARGS)

test-slow: $(VENV)/.tpu ## end-to-end and pod-sized tests (fetches libtpu)
	$(BIN)/python -m pytest -m slow $(ARGS)

# Each row of the table, here and where else it is tested; ends on the table.
test-faults: $(VENV)/.test ## the 25 faults: injected, promised, held
	$(BIN)/python -m pytest -m 'slow or not slow' tests/faults \
	  $$($(BIN)/python tests/faults/fault_rows.py) $(ARGS)

test-beam: $(VENV)-beam/.done ## builds on Apache Beam, in .venv-beam
	$(VENV)-beam/bin/python -m pytest tests/data/prepare/test_beam.py \
	  tests/data/sets/test_tfds_builder.py $(ARGS)

# As a user has it: no checkout, no extra, another folder.
test-wheel: $(VENV)/.made ## the wheel, installed apart, plans a recipe
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps \
	  --wheel-dir dist .
	$(PYTHON) -m venv --clear $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip --disable-pip-version-check install \
	  --quiet $(PIP_FLAGS) -c constraints.txt dist/*.whl
	.ci/use_wheel $(VENV)-wheel/bin

install-test: $(VENV)/.test ## what the tests need, and nothing run

lint: $(VENV)/.test ## ruff, import layers, types, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/shellcheck scripts/*.sh .ci/run .ci/use_wheel

# promise, which tensorflow-datasets needs, is Python alone and has no wheel.
resolve: $(VENV)/.made ## do constraints.txt and wheels do on each Python?
	$(PIP) uv
	for version in 3.11 3.12 3.13 3.14; do \
	  $(BIN)/uv pip compile --quiet --python-version $$version \
	    --only-binary :all: --no-binary promise -c constraints.txt \
	    --extra test --output-file $(VENV)/resolved-$$version.txt \
	    pyproject.toml >/dev/null; \
	  echo "Python $$version: all wheels"; \
	done

format: $(VENV)/.test ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-gpu: ## time, memory and MFU on this GPU; SIZE=miniature on a CPU
ifeq ($(SIZE),miniature)
bench-gpu: $(VENV)/.demo
	$(BIN)/python benchmarks/gpu.py --size=miniature $(ARGS)
else
bench-gpu: $(VENV)/.cuda
	$(BIN)/python benchmarks/gpu.py --size=$(SIZE) $(ARGS)
endif

bench-decode: $(VENV)/.bench ## clips/s: ours, a scan of the file, decord2
	$(BIN)/python benchmarks/decode.py \
	  --output=benchmarks/results/decode.json $(ARGS)

bench-feed: $(VENV)/.demo ## training batches/s: ours, TensorFlow's operations
	$(BIN)/python benchmarks/feed.py \
	  --output=benchmarks/results/feed_cpu.json $(ARGS)

bench-startup: $(VENV)/.demo ## start-up and memory of training; BEFORE=DIR
	@test -n '$(BEFORE)' || { echo 'give BEFORE=DIR, a checkout to compare' \
	  'with' >&2; exit 1; }
	$(BIN)/python benchmarks/feed_startup.py --before="$(BEFORE)" \
	  --output=benchmarks/results/feed_startup.json $(ARGS)

bench-memory: $(VENV)/.demo ## memory of vidlm prepare over 10,000 clips
	$(BIN)/python benchmarks/prepare_memory.py \
	  --output=benchmarks/results/prepare_memory.json $(ARGS)

bench-transformers: $(VENV)/.test ## time and memory against PyTorch, on this CPU
	$(BIN)/python benchmarks/against_transformers.py \
	  --output=benchmarks/results/against_transformers_cpu.json $(ARGS)

clean: ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-beam $(VENV)-wheel dist .pytest_cache .ruff_cache \
	  .mypy_cache .import_linter_cache

# -- installation -----------------------------------------------------------

$(VENV)/.made:
	@test -n '$(PYTHON)' || { echo 'no python3 found' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo '$(PYTHON): Python 3.11 or newer is needed' >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.made
	@echo 'installing into $(VENV): a few minutes, once'
	$(PIP) --editable '.[miniature]'
	@touch $@

# One stamp implies the other: the test extra holds all the demo needs.
$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.made
	@echo 'installing into $(VENV): a few minutes, once'
	$(PIP) --editable '.[test]'
	@touch $(VENV)/.demo $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/.made
	@echo 'installing into $(VENV), with decord2: a few minutes, once'
	$(PIP) --editable '.[bench,miniature]'
	@touch $(VENV)/.demo $@

$(VENV)/.tpu: pyproject.toml constraints.txt | $(VENV)/.made
	@echo 'installing into $(VENV): the test set and the TPU compiler (700 MB)'
	$(PIP) --editable '.[test,tpu]'
	@touch $(VENV)/.demo $(VENV)/.test $@

# Beam's pins take the place of those it can't live with.
$(VENV)-beam/.done: pyproject.toml constraints.txt constraints-beam.txt
	@echo 'installing into $(VENV)-beam: a few minutes, once'
	$(PYTHON) -m venv --clear $(VENV)-beam
	grep -vFf <(sed -n 's/==.*/==/p' constraints-beam.txt) constraints.txt \
	  > $(VENV)-beam/constraints.txt
	$(VENV)-beam/bin/python -m pip --disable-pip-version-check install \
	  --quiet $(PIP_FLAGS) -c $(VENV)-beam/constraints.txt \
	  -c constraints-beam.txt --editable '.[beam]' beartype pytest \
	  pytest-timeout
	@touch $@

$(VENV)/.cuda: pyproject.toml constraints.txt | $(VENV)/.made
	@echo 'installing into $(VENV), with CUDA for JAX: a few minutes, once'
	$(PIP) --editable '.[cuda,miniature]'
	@touch $(VENV)/.demo $@
