# Everything a developer types. `make` alone lists it.

PYTHON_IN_VENV := .venv/bin/python
# Extra words for the command of a target: make test ARGS="-k join -x".
ARGS ?=
# demo: any folder or JSONL file in place of the corpus that comes along.
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help install venv demo test test-slow chaos check fix bench pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## ragstream into .venv, when pyproject.toml or constraints.txt has changed
venv: .venv/.installed-dev ## the same with everything the tests, checks and benchmarks need

.venv/.installed: pyproject.toml constraints.txt scripts/install
	@scripts/install .
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt scripts/install
	@scripts/install '.[dev,test-servers,openvino,local-llm]'
	@touch $@ .venv/.installed

demo: install ## a short story on real content, nothing else needed; DATA=folder-or-jsonl for your own
	@.venv/bin/ragstream demo $(if $(DATA),--data "$(DATA)") $(ARGS)

test: venv ## the fast tier, at most 15 minutes; ARGS="..." goes to pytest
	$(PYTHON_IN_VENV) -m pytest -m "not slow" $(ARGS)

test-slow: venv ## the slow tier: kills, long histories, the real encoder; at most 45 minutes
	$(PYTHON_IN_VENV) -m pytest -m slow $(ARGS)

chaos: venv ## only the tests that kill and pause things
	$(PYTHON_IN_VENV) -m pytest tests/chaos $(ARGS)

check: venv ## lint, format and types, as in CI
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

fix: venv ## mend what the linter and the formatter can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: venv ## measure, and write docs/benchmarks.md
	$(PYTHON_IN_VENV) -m benchmarks $(ARGS)

pins: ## rewrite constraints.txt for pyproject.toml, keeping pins that still fit; ARGS=--upgrade moves them
	@scripts/pins $(ARGS)

clean: ## remove caches and local state; .venv and the fetched servers in .cache stay
	rm -rf .ragstream .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
