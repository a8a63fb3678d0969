# Every command of the README. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The Lambda runtime's Python. pyenv keeps versions that are not on PATH; override with PYTHON=….
PYTHON ?= $(shell for p in python3.13 python3 "$$HOME"/.pyenv/versions/3.13*/bin/python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
READY := .venv/.ready
SOURCES := buildspecs cli functions layers local tests
# so that no worker is left with a long file when the others are done
LONGEST_FIRST := tests/workflow tests/cli tests/local tests/simulation tests/template tests/unit
DEPLOY_OPTIONS := $(if $(ENVIRONMENT),--environment '$(ENVIRONMENT)')
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
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.checkov/.ready: checkov.lock | $(READY)
	@echo "Installing checkov into .checkov (20 seconds, once) …"
	@rm -rf .checkov && $(PYTHON) -m venv .checkov
	@.checkov/bin/pip install -qq --disable-pip-version-check --require-hashes -r checkov.lock
	@touch $@

.PHONY: setup
setup: $(READY) ## install what the other commands need

.PHONY: demo
demo: $(READY) ## watch three pushes go live, or back, on a local AWS (a minute)
	@python -m local.demo

.PHONY: demo-build
demo-build: $(READY) ## watch uploaded sources become live releases, on a local AWS (a minute)
	@python -m local.demo_build

.PHONY: demo-docs
demo-docs: $(READY) ## watch uploaded documentation become a live site, on a local AWS (two minutes)
	@python -m local.demo_docs

.PHONY: local
local: $(READY) ## keep a local AWS with the deployer up, and show what is pushed to it
	@python -m local.demo --serve

.PHONY: deploy
deploy: $(READY) ## deploy to an AWS account, see docs/deploy.md
	@python -m cli.setup --mode $(or $(MODE),full) $(DEPLOY_OPTIONS) $(if $(YES),--yes) \
		$(if $(IMAGE),--image '$(IMAGE)') $(if $(SOURCE),--source '$(SOURCE)') $(if $(DOCS),--docs '$(DOCS)')

.PHONY: remove
remove: $(READY) ## delete the stacks from the account again; says what stays
	@python -m cli.setup --remove $(DEPLOY_OPTIONS) $(if $(YES),--yes)

.PHONY: test
test: lint ## check and test everything
	@echo "pytest (three local AWS side by side; a quarter of an hour on two cores) …"
	@pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not slow' $(LONGEST_FIRST)
	@echo "pytest (what the roles allow, and what those tests used of it) …"
	@pytest -q tests/permissions

.PHONY: test-slow
test-slow: $(READY) ## test what takes long: doctor, builds by hand, the docs site in Chromium (ten minutes)
	@pytest -n 2 --dist loadfile -m slow tests/cli tests/local tests/workflow

.PHONY: lint
lint: $(READY) .checkov/.ready ## check style, types and templates
	@echo "ruff …" && ruff check --quiet $(SOURCES) && ruff format --check --quiet $(SOURCES)
	@echo "mypy …" && mypy --no-error-summary
	@echo "sam validate --lint …" && sam validate --lint --region us-east-1 --template template.yaml >/dev/null
	@echo "cfn-lint …" && cfn-lint template.yaml infrastructure/*.yaml
	@echo "checkov …" && python -m tests.template.checkov

.PHONY: unit
unit: $(READY) ## test the decisions, the functions and the adapters (seconds)
	@pytest $(wildcard tests/unit tests/template)

.PHONY: workflow
workflow: $(READY) ## test the state machine on the local AWS
	@pytest tests/workflow

.PHONY: soak
soak: N := 10000
soak: $(READY) ## run N random schedules of faults in virtual time (FROM one on), or show one (SEED=313)
	@python -m tests.simulation $(if $(SEED),replay $(SEED),soak $(N) $(FROM))

.PHONY: guards
guards: $(READY) ## take the deployer's guards away one by one; each must be missed
	@python -m tests.simulation guards

.PHONY: race
race: $(READY) ## hold other tools' success rules beside the deployer's, on the same releases
	@python -m tests.simulation race

.PHONY: benchmark
benchmark: $(READY) ## measure reaction, steps, cold starts and the publication of a site
	@python -m tests.benchmarks

.PHONY: clean
clean: ## remove what builds and tests leave; .venv and a running local AWS stay
	rm -rf .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name .local -prune -o -name __pycache__ -prune -exec rm -rf {} +

.PHONY: lock
lock: $(READY) ## resolve pyproject.toml into requirements.lock and checkov.lock again
	for group in dev:requirements.lock checkov:checkov.lock; do \
		uv pip compile --quiet --group $${group%:*} --universal --python-version 3.13 \
			--generate-hashes --no-emit-index-url --no-annotate --no-header -o $${group#*:} || exit 1; done
