# Two commands: `make demo` runs the whole study on the embedded world, `make test` runs all tests.
# Both set up .venv once. TORCH_INDEX=URL takes PyTorch from that package index (its CPU wheels, for instance).

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH_INDEX ?=

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test setup lint

demo: $(READY)
	@snakemake --cores $(CORES) --scheduler greedy --quiet rules reason host
	@echo "The report is at $(CURDIR)/results/demo/report.html"

test: $(READY) lint
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
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[slurm,dev]"
	@$(BIN)/python -m compileall -qq $(VENV)/lib src scripts >/dev/null || true  # some packages carry files for other Pythons
	@touch $(READY)
