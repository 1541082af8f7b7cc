# One word per act. `make run` and `make test` do all the set-up that they need.
PYTHON ?= python3
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

BIN := .venv/bin
PACKAGES := engine sync persistence gateways http app bench
UV_VERSION := 0.13.9

# The environment is complete when it carries the stamp of what it was made from. The stamp is taken from
# contents and place, not from dates: a fresh checkout touches every date, and a moved .venv is broken.
STAMP := .venv/.complete-$(shell { pwd; cat requirements-dev.lock pyproject.toml; } | cksum | tr ' ' '-')
JS_STAMP := tests/js/node_modules/.complete-$(shell cat tests/js/package-lock.json 2>/dev/null | cksum | tr ' ' '-')

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

.PHONY: help install run test js lint format simulate chaos soak mutate docs demo bench compare lock wheel image-steps clean types

help: ## what can be done (this list)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## .venv with everything; the command is then .venv/bin/fitai

run: $(STAMP) ## server on 127.0.0.1:8080, with its database and a demo account
	@exec $(BIN)/fitai serve

test: $(STAMP) js ## the whole suite; pytest's own options: make test ARGS='-k sync'
	@$(BIN)/python -m pytest -n $${FITAI_TEST_WORKERS:-auto} --dist loadfile --junitxml=.cache/tests.xml $(ARGS)

lint: $(STAMP) types ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES:%=-p fitai.%) -p tests
	PYTHONPATH=.cache/types $(BIN)/lint-imports --cache-dir .cache/importlinter

format: $(STAMP) ## rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP) ## two devices, a lost connection, a killed server and a merge, shown live
	@$(BIN)/fitai demo

simulate: $(STAMP) ## a thousand seeds of devices, a server and every fault: SEEDS=, FROM=
	@$(BIN)/python -m tests.simulation.run --seeds $(or $(SEEDS),1000) --from $(or $(FROM),1)

chaos: $(STAMP) ## nodes, Redis, PostgreSQL, devices and every fault, as real processes: SEEDS=, FROM=
	@$(BIN)/python -m tests.chaos.run --seeds $(or $(SEEDS),10) --from $(or $(FROM),0)

soak: $(STAMP) ## a minute of reconnects, then five at half of capacity: does anything grow? MINUTES=
	@FITAI_TEST_RECONNECT_S=60 $(BIN)/python -m pytest -q tests/system/test_nodes.py -k reconnects
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),5) --into bench/results

mutate: $(STAMP) ## each rule of the merge switched off in turn: does a test notice?
	@$(BIN)/python -m tests.mutation $(ARGS)

docs: $(STAMP) ## write the generated parts of the documents anew
	@$(BIN)/python tests/test_docs.py

bench: $(STAMP) ## parts measured beside peers, into bench/results; one: make bench ARGS='merge --runs 3'
	@$(PIP_INSTALL) --require-hashes -r requirements-peers.lock
	@$(BIN)/python -m fitai.bench.micro --into bench/results $(ARGS)

compare: $(STAMP) ## FitAI beside its peers, as ratios, into bench/results: make compare ARGS='--only pairs --runs 3'
	@$(BIN)/python -m fitai.bench.compare --into bench/results $(ARGS)

wheel: $(STAMP) ## a wheel in dist/
	@rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build

image-steps: $(STAMP) ## the Dockerfile's steps, performed without an engine
	@$(BIN)/python -m tests.deploy.image

lock: ## bring the lock files up to what pyproject.toml allows today
	@test -x .cache/uv-$(UV_VERSION)/bin/uv || { $(PYTHON) -m venv .cache/uv-$(UV_VERSION) && \
		.cache/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION); }
	@$(MAKE) lock-with UV=.cache/uv-$(UV_VERSION)/bin/uv

LOCKED = --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock'
COMPILE = $(UV) pip compile pyproject.toml $(LOCKED)

.PHONY: lock-with
lock-with:
	$(COMPILE) --extra ai --output-file requirements.lock
	$(COMPILE) --extra ai --extra bench --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(UV) pip compile --group peers $(LOCKED) --constraint requirements-dev.lock --output-file requirements-peers.lock
	for folder in tests/js bench/compare/peers; do \
		(cd $$folder && npm install --omit-lockfile-registry-resolved --package-lock-only --ignore-scripts --no-audit --no-fund) || exit 1; done

clean: ## remove what was made, but never data/
	rm -rf .venv .cache build dist *.egg-info tests/js/node_modules .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Type checkers do not see that setuptools maps the folders to fitai.*: a link lets them.
types:
	@mkdir -p .cache/types
	@ln -sfn ../.. .cache/types/fitai
	@ln -sfn ../../tests .cache/types/tests

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>/dev/null) || found='no Python that starts'; \
		echo "FitAI needs Python 3.11 or newer, but '$(PYTHON)' is $$found."; \
		echo "Name one that is: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12"; exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make an environment. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; } >&2
	@test "$$(cat .venv/.place 2>/dev/null)" = "$$(pwd)" && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Making .venv …"; $(PYTHON) -m venv --clear .venv && pwd > .venv/.place; }
	@rm -f .venv/.complete-*
	@echo "Installing what requirements-dev.lock names …"
	@sed -n '/^pip==/,/# via/p' requirements-dev.lock > .venv/pip.lock
	@$(PIP_INSTALL) --require-hashes -r .venv/pip.lock
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The stock JavaScript client, for the tests that speak to the server with it.
js:
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; then \
		test -e $(JS_STAMP) || $(MAKE) $(JS_STAMP); \
	else \
		echo "Node.js 18 or newer with npm is not here: the tests with the JavaScript client will be skipped."; \
		test -z "$$CI" || { echo "CI must have it." >&2; exit 1; }; \
	fi

$(JS_STAMP):
	@echo "Installing the stock JavaScript client …"
	@cd tests/js && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@
