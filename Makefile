# Every command of the README. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The Lambda runtime's Python, not that of .venv, which is made anew. pyenv keeps versions that are
# not on PATH; override with PYTHON=….
PYTHON ?= $(shell for p in python3.13 python3 "$$HOME"/.pyenv/versions/3.13*/bin/python; do "$$p" -c \
	'import os, sys; sys.version_info[:2] == (3, 13) or exit(1); print(os.path.realpath(sys._base_executable))' \
	2>/dev/null && break; done)
BIN := .venv/bin
READY := .venv/.ready
SOURCES := buildspecs cli demo functions layers local-aws setup tests
# so that no worker is left with a long file when the others are done
SUITES := tests/simulation tests/workflow tests/cli tests/demo local-aws/tests tests/template tests/unit
SLOW := tests/benchmarks tests/workflow tests/cli tests/demo local-aws/tests tests/simulation
# pytest-xdist, file by file. Three workers for two cores: tests on the local AWS mostly wait.
WORKERS ?= 3
PYTEST := pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PNPM := npx --yes pnpm@10.24.0 # as docs/package.json names it
# runs a command and says what it took: $(call timed,NAME,COMMAND)
timed = @TIMEFORMAT='$(1): %lR (CPU %lU + %lS)'; time { $(2); }
DEPLOY_OPTIONS := $(if $(ENVIRONMENT),--environment '$(ENVIRONMENT)')
export PATH := $(CURDIR)/$(BIN):$(PATH)
export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Makes a virtual environment of a lock file: $(call environment,DIRECTORY,LOCK,PYTHON). With uv, which is
# brought into it where the machine has none; with pip, should uv not find the registry by itself.
# Others must be able to read it: PostgreSQL does not run as root.
define environment
	@umask 022; rm -rf $(1) && $(3) -m venv $(1)
	@umask 022; uv=$$(command -v uv) || { awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock \
		>$(1)/uv.lock && $(1)/bin/pip install -qq --require-hashes -r $(1)/uv.lock; uv=$(1)/bin/uv; }; \
	"$$uv" pip sync -q --require-hashes --python $(1)/bin/python $(2) 2>$(1)/uv.log \
		|| $(1)/bin/pip install -qq --require-hashes -r $(2)
endef
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.venv/.locked: requirements.lock
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.13 is needed and was not found." \
		"Install it, or name it: make PYTHON=/path/to/python3.13" >&2; exit 1; fi
	@echo "Installing the development environment into .venv (half a minute, once) …"
	$(call environment,.venv,requirements.lock,$(PYTHON))
	@touch $@

$(READY): .venv/.locked pyproject.toml
	@umask 022; $(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

.checkov/.ready: checkov.lock | $(READY)
	@echo "Installing checkov into .checkov (once) …"
	$(call environment,.checkov,checkov.lock,$(BIN)/python)
	@touch $@

.PHONY: setup
setup: $(READY) ## install what the other commands need

.PHONY: demo
demo: $(READY) ## watch three pushes go live, or back, on a local AWS (a minute)
	@python -m demo.deploy

.PHONY: demo-build
demo-build: $(READY) ## watch uploaded sources become live releases, on a local AWS (a minute)
	@python -m demo.build

.PHONY: demo-docs
demo-docs: $(READY) ## watch uploaded documentation become a live site, on a local AWS (two minutes)
	@python -m demo.docs

.PHONY: local
local: $(READY) ## keep a local AWS with the deployer up, and show what is pushed to it
	@python -m demo.deploy --serve

.PHONY: deploy
deploy: $(READY) ## deploy to an AWS account, see docs/deploy.md
	@python -m setup --mode $(or $(MODE),full) $(DEPLOY_OPTIONS) $(if $(YES),--yes) \
		$(if $(IMAGE),--image '$(IMAGE)') $(if $(SOURCE),--source '$(SOURCE)') $(if $(DOCS),--docs '$(DOCS)')

.PHONY: remove
remove: $(READY) ## delete the stacks from the account again; says what stays
	@python -m setup --remove $(DEPLOY_OPTIONS) $(if $(YES),--yes)

.PHONY: test
test: $(READY) .checkov/.ready ## check everything, test all but what is slow (five minutes)
	$(call timed,make test,$(MAKE) --no-print-directory lint quick)

.PHONY: quick
quick: $(READY)
	@echo "pytest: unit, template, simulation, and one walk a feature on a local AWS …"
	@$(PYTEST) -m 'not slow' $(SUITES)

.PHONY: test-all
test-all: $(if $(SKIP),,test) ## test everything: emulator, Chromium, site builders, doctor (half an hour)
	$(call timed,make test-all,$(MAKE) --no-print-directory slow)

.PHONY: slow
slow: $(READY)
	@echo "pytest: everything else on local AWS side by side, and the local AWS itself …"
	@$(PYTEST) -m slow $(SLOW)
	@echo "pytest: what the roles allow, and what those tests used of it …"
	@pytest -q tests/permissions

.PHONY: stress
stress: SEED := $(shell date +%s)
stress: $(READY) ## run all tests five times beside six busy loops, then in random order (hours)
	@for n in 1 2 3 4 5 6; do while :; do :; done & loops="$$loops $$!"; done; trap "kill $$loops" EXIT; \
	for run in 1 2 3 4 5; do echo "run $$run of 5 …"; $(PYTEST) $(SUITES) || exit 1; done; \
	echo "random order, seed $(SEED) …"; $(PYTEST) --random-order --random-order-seed=$(SEED) $(SUITES)

.PHONY: lint
lint: $(READY) .checkov/.ready ## check style, types and templates
	@$(MAKE) --no-print-directory --output-sync -j 2 mypy checkov cfn-lint ruff prose

.PHONY: ruff mypy cfn-lint checkov prose
ruff: $(READY)
	@echo "ruff …" && ruff check --quiet $(SOURCES) && ruff format --check --quiet $(SOURCES)
mypy: $(READY)
	@echo "mypy …" && mypy --no-error-summary
prose: $(READY) # the words that tests/prose.txt lists
	@echo "prose …" && python -m tests.prose
cfn-lint: $(READY) # as `sam validate --lint` does
	@echo "cfn-lint …" && env -u AWS_PROFILE -u AWS_DEFAULT_PROFILE cfn-lint template.yaml infrastructure/*.yaml
checkov: $(READY) .checkov/.ready # of what `sam validate` makes of the template
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
benchmark: $(READY) ## measure reaction, steps, cold starts, first releases and the publication of a site
	@python -m tests.benchmarks

.PHONY: docs
docs: ## build docs/ as a site, into docs/.vitepress/dist (needs Node.js; `deployer docs docs` publishes it)
	@cd docs && $(PNPM) install --frozen-lockfile --silent && $(PNPM) run --silent build

.PHONY: pictures
pictures: $(READY) ## record `make demo`, the page and the widget, and draw the diagram, for README and docs (two minutes)
	@python -m demo.pictures
	@PYTEST_PICTURES=1 pytest -q -m slow tests/workflow/test_page.py tests/workflow/test_widget.py

.PHONY: clean
clean: ## remove what builds and tests leave; .venv and a running local AWS stay
	rm -rf .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name .local -prune -o -name __pycache__ -prune -exec rm -rf {} +

.PHONY: lock
lock: $(READY) ## resolve pyproject.toml into requirements.lock and checkov.lock again
	lock() { uv pip compile --quiet --universal --python-version 3.13 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header -o "$$@"; } && \
	lock requirements.lock local-aws/pyproject.toml --group pyproject.toml:dev && \
	lock checkov.lock --group checkov
