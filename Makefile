# Everything runs from .venv: rebuilt when requirements.lock changes, the project installed into it
# again when pyproject.toml does.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV ?= uv
NAME ?= explain
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := .venv/.locked
INSTALLED := .venv/.installed

# Libraries that would report their use are told not to.
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := True
export GX_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := true

.DEFAULT_GOAL := help
.PHONY: help install demo screenshots lint test check bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv from the hashed lock

# The stamps sit inside .venv: an interrupted install leaves none and is done again from scratch.
$(LOCKED): requirements.lock
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## train, decide and report on the sample market, into out/demo
	$(BIN)/gearline demo --out out/demo

screenshots: install ## every screen of the console on the demo's data, into out/screenshots
	test -f out/demo/demo.json || $(BIN)/gearline demo --out out/demo
	$(BIN)/python scripts/make_screenshots.py out/demo out/screenshots

lint: install ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install ## all tests, in processes side by side; PYTEST_ARGS="-m 'not long'" leaves out the long ones
	$(BIN)/python -m tests.side_by_side $(PYTEST_ARGS)

check: lint test ## what must pass before a commit

bench: install ## one benchmark: make bench NAME=explain
	$(BIN)/gearline bench $(NAME)

# A maintainer's step, after editing the dependencies: needs uv. Versions already in the lock are
# kept where they still fit; delete the file first to take the newest of everything.
lock: ## regenerate requirements.lock (maintainers; needs uv)
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --quiet --output-file requirements.lock

clean: ## remove .venv, out/ and every cache
	rm -rf .venv out build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
