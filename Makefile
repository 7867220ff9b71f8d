# Needs Python >= 3.11 and make, nothing else. `make` alone lists the tasks.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CHURN  := $(BIN)/churn
STAMP  := $(VENV)/.installed

# Set in some environments, it makes every start of Python compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install demo dev test quick check format clean

help:  ## List the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Install the pinned set into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"expected Python 3.11 or later, found {sys.version.split()[0]}: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned set into $(VENV) (a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## Run 24 simulated months through Dagster and sum them up
	@$(CHURN) demo --months 24

dev: $(STAMP)  ## Open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/dagster dev -h 127.0.0.1

test: $(STAMP)  ## Run all tests, on all cores
	@$(BIN)/python -m pytest -n auto --dist loadfile

quick: $(STAMP)  ## Run the quick tests, on all cores
	@$(BIN)/python -m pytest -n auto --dist loadfile -m 'not e2e and not slow'

check: $(STAMP)  ## Lint and check types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## Format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

clean: $(STAMP)  ## Remove everything that was made from data (asks first)
	@$(CHURN) clean
