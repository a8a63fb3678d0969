# Every command of the README. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The Lambda runtime's Python. pyenv keeps versions that are not on PATH; override with PYTHON=….
PYTHON ?= $(shell for p in python3.13 python3 "$$HOME"/.pyenv/versions/3.13*/bin/python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.13 is needed and was not found." \
		"Install it, or name it: make PYTHON=/path/to/python3.13" >&2; exit 1; fi
	@echo "Installing the development environment into .venv (about a minute, once) …"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.PHONY: setup
setup: $(READY) ## install what the other commands need

.PHONY: lock
lock: $(READY) ## resolve pyproject.toml into requirements.lock again
	uvx uv pip compile --quiet --group dev --universal --python-version 3.13 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header -o requirements.lock
