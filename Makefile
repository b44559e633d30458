# `make` alone prints the targets. Everything runs from .venv, which `make setup` fills from the lock.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# With it, every process that a test starts would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Leave PYTHON empty to take the first Python on the path that is new enough.
PYTHON ?=
HIGGS ?=
PORT ?=
JSON ?=

BIN := .venv/bin
STAMP := .venv/.installed
PEERS_STAMP := .venv-bench/.installed
INTEROP_STAMPS := $(patsubst %,tests/%/node_modules/.installed,interop browser clickhouse)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help setup run cluster test check lint ruff format-check types imports interop heavy clusters cluster-faults faults format bench lock messages tables clean docs screenshots dist packages audit

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv and install the locked packages (instant once done)
	@:

# A pinned interpreter that has gone, or is too old, means a new .venv; else the old one is brought up to date.
$(STAMP): requirements.lock pyproject.toml packages/client/pyproject.toml
	@fits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c "$$fits" 2>/dev/null; then \
	  found=; \
	  for python in $(or $(PYTHON),python3.11 python3 python3.14 python3.13 python3.12); do \
	    if "$$python" -c "$$fits" 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Python 3.11 or newer with its venv module is needed, but none was found." >&2; \
	    echo "$(or $(PYTHON),python3) is: $$($(or $(PYTHON),python3) --version 2>&1 || true)" >&2; \
	    echo "Install one (Debian: apt-get install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  "$$found" -m venv --clear .venv; \
	fi
	@echo "Installing the locked packages into .venv; the first time takes about a minute ..." >&2
	@quietly() { "$$@" >.venv/install.log 2>&1 || { tail -n 40 .venv/install.log >&2; exit 1; }; }; \
	quietly $(PIP) install --require-hashes --no-deps -r requirements.lock; \
	quietly $(PIP) install --no-deps --no-build-isolation --editable packages/client --editable .
	@touch $@

run: setup ## Run a sandbox to try things in; PORT=8080 and HIGGS=file are optional
	@$(BIN)/openengagement sandbox $(if $(PORT),--port $(PORT)) $(if $(HIGGS),--higgs $(HIGGS))

# Needs ClickHouse, ZooKeeper, PostgreSQL and Caddy of Debian; .ci/run installs them.
cluster: setup ## Run a whole cluster on this machine to try things in; PORT, HIGGS=file and JSON=1 are optional
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m local_cluster $(if $(PORT),--port $(PORT)) $(if $(HIGGS),--higgs $(HIGGS)) $(if $(JSON),--json)

# Where memory has 4 GB to spare, the files of tests are kept there: nothing then waits for a disk.
IN_MEMORY = $(shell [ "$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -ge 4000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)

# Two pytest workers more than there are cores: the tests often wait for a server.
# Passwords are hashed at the lowest cost, and servers are forks of a process that has imported the
# product. The heavy tests use the real cost, servers that start as users start them, and a disk.
# A file of one certificate replaces the trusted ones of this machine: reading 140 of them takes every
# worker and client 20 ms, and no quick test leaves this machine.
# Only a heavy test uses schemathesis, and each worker would import it.
QUICK = TEST_SERVERS=forked PYTHONPATH=$(CURDIR)/tests/support/cheap_passwords SSL_CERT_FILE=$(CURDIR)/tests/support/authority.pem
test: setup ## Run the quick tests, on all cores
	@$(IN_MEMORY) $(QUICK) $(BIN)/python -m pytest -q -p no:schemathesis -n $$(($$(getconf _NPROCESSORS_ONLN) + 2)) -m "not heavy and not cluster"

check: lint test heavy clusters cluster-faults ## Run everything that CI runs

lint: ruff format-check types imports ## Run the linters, the type checker and the import rules

ruff: setup
	@$(BIN)/ruff check --quiet .

format-check: setup
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted; run: make format" >&2; $(BIN)/ruff format --check . >&2; }

types: setup
	@$(BIN)/mypy --no-error-summary

imports: setup
	@$(BIN)/lint-imports --no-logo

format: setup ## Format the code and apply the safe fixes
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

# Client libraries of other languages, and the scripts that the browser tests inject into pages.
interop: $(INTEROP_STAMPS)

$(INTEROP_STAMPS): %/node_modules/.installed: %/package-lock.json
	@cd $* && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# One pytest worker more than there are cores: these tests have browsers, databases and large files.
heavy: setup interop ## Run the heavy tests, on all cores
	@$(BIN)/python -m pytest -q -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) -m heavy

# The tests over HTTP that `make test` runs on files. `replicated` has two API nodes.
ON_CLUSTER = TEST_SERVERS=forked PYTHONPATH=$(CURDIR)/tests/support/cheap_passwords $(BIN)/python -m pytest -q -n logical -m "not heavy"
clusters: setup interop ## Run the wire tests, the oracle and the attacks on clusters
	@TEST_STORES=cluster $(ON_CLUSTER) tests/wire tests/oracle tests/attacks
	@TEST_STORES=replicated $(ON_CLUSTER) tests/wire tests/attacks

cluster-faults: setup interop ## Stop servers of a cluster under load, and try the short version of `make faults`
	@$(BIN)/python -m pytest -q -m cluster tests/contract
	@$(BIN)/python -m pytest -q -m cluster tests/local_cluster

faults: setup ## Break each part of a whole cluster under load, and print what that costs; root for all of it
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m local_cluster.faults

dist: setup ## Build the wheels and sdists of both packages into dist/
	@rm -rf dist
	@for project in packages/client .; do (cd $$project && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/dist); done

packages: setup ## Build and install both packages, the image, proxies and unit as users do (part of `make heavy`)
	@$(BIN)/python -m pytest -q tests/deploy

# Asks a database on the network, so it is no part of `make check`.
audit: setup ## Look for known vulnerabilities in the locked packages
	@$(BIN)/uv tool run pip-audit --requirement deploy/requirements.lock --disable-pip

# MkDocs must find no fault. The variable keeps an announcement of its theme out of the output.
docs: setup ## Build the documentation as a site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

screenshots: setup ## Take the pictures of the pages under docs/screenshots again
	@$(BIN)/python tests/browser/screenshots.py

bench: setup tests/clickhouse/node_modules/.installed ## Run the benchmarks of the product and its peers
	@$(MAKE) $(PEERS_STAMP) || echo "The peers' packages cannot be installed: measured without them." >&2
	@$(BIN)/python benchmarks/run.py
	@if test -e $(PEERS_STAMP); then .venv-bench/bin/python benchmarks/plots.py; fi

# Install the alternatives and the plotting library into an environment of their own.
$(PEERS_STAMP): benchmarks/requirements.lock
	@echo "Installing the peers' packages into .venv-bench (over 1 GB) ..."
	@rm -f $@
	@$(BIN)/python -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip --disable-pip-version-check --no-input --quiet \
	  install --require-hashes --no-deps -r benchmarks/requirements.lock
	@touch $@

# uv must not hear of this machine's own package sources.
COMPILE = env -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
  $(BIN)/uv pip compile --no-config --universal --python-version 3.11 --upgrade \
  --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock" --quiet

lock: setup ## Pin the newest allowed packages, with hashes, in requirements.lock; the image's and the peers' too
	@$(COMPILE) --all-extras --no-emit-package openengagement-client \
	  --output-file requirements.lock pyproject.toml
	@$(COMPILE) --extra cluster --extra kafka --extra nats --constraint requirements.lock --no-emit-package openengagement-client \
	  --output-file deploy/requirements.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock \
	  --output-file benchmarks/requirements.lock benchmarks/requirements.in

messages: setup ## Bring the catalogues of the pages' texts up to date
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m support.messages

tables: setup ## Write the generated tables of docs/ again: settings, licences, metrics, scale
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m support.tables
	@$(BIN)/python benchmarks/scale.py --write

clean: ## Remove .venv, caches and everything built
	@rm -rf .venv .venv-bench build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
	  .mypy_cache .pytest_cache .ruff_cache tests/*/node_modules
	@find src packages tests -name __pycache__ -type d -prune -exec rm -rf {} +
