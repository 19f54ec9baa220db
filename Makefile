# Tacit's front door. Everything sets itself up; Python 3.11 or newer and make are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup test audit check lock clean demo serve bench bench-smoke openapi

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Make the virtual environment (the other targets do it by themselves)

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tacit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@test -x $(BIN)/python || { echo "· making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "· installing what requirements/dev.txt pins (a few minutes the first time)"
	@$(PIP) install --require-hashes -r requirements/dev.txt 2>&1 | grep -v '^WARNING: Location' || true
	@$(PIP) install --no-deps --no-build-isolation -e . 2>&1 | grep -v '^WARNING: Location' || true
	@$(BIN)/python -c 'import fastapi, tacit' && touch $(READY)

demo: $(READY) ## Tell the whole story on a service of its own, in under a minute
	@$(BIN)/python -m demo.story

serve: $(READY) ## Keep a service up in ./var (made on first use; the operator's token is then shown, once)
	@test -e "$${TACIT_FOLDER:-var}/root.key" || { echo "· the operator's token, shown this once:"; $(BIN)/python -m app init; }
	@echo "· http://$${TACIT_HOST:-127.0.0.1}:$${TACIT_PORT:-8000}/docs (Ctrl-C ends it)"
	@$(BIN)/python -m app serve

bench: $(READY) ## Measure beside peers (FIGURES="ingest.sqlite start" selects; writes benchmarks/results.json)
	@$(BIN)/python -m benchmarks.run $(FIGURES)

bench-smoke: $(READY) ## Run every benchmark once on small data
	@$(BIN)/python -m benchmarks.run --smoke $(FIGURES)

openapi: $(READY) ## Write openapi/openapi.json anew
	@$(BIN)/python -m app openapi openapi/openapi.json

test: $(READY) ## Run the tests (PYTEST_ARGS="-k ledger" passes arguments on; TACIT_FULL=1 the long forms)
	@$(BIN)/python -m pytest -q -n 4 --dist loadgroup $(PYTEST_ARGS)

audit: $(READY) ## Look for more ε than was claimed, at length: 50,000 draws a side, and bugs planted that must be caught
	@TACIT_FULL=1 $(BIN)/python -m pytest -q -n 2 tests/statistics $(PYTEST_ARGS)

check: $(READY) ## Lint, types, import directions
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache
	@$(BIN)/hadolint Dockerfile && echo "Dockerfile: clean"

lock: $(READY) ## Pin the requirements anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --extra dev pyproject.toml -o requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --extra server pyproject.toml requirements/build.in -c requirements/dev.txt -o requirements/server.txt

clean: ## Remove what the targets made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build demo-run .peers
