# Every target sets up what it needs; a fresh machine needs python3 (3.11 or newer) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_UP := $(VENV)/.installed-up
UNIT := -m "not kafka"
AT_ONCE := --numprocesses auto --dist worksteal
BROKER := -m "kafka and not alone"
ALONE := -m "kafka and alone"
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile
# Some tests ask how long something takes; what fails (not: crashes) beside others must pass by itself.
tests = $(BIN)/python -m pytest $(1) $(2) --cache-clear || \
  { [ $$? = 1 ] && echo "once more, by itself, what failed:" && $(BIN)/python -m pytest $(1) --last-failed; }
MATRIX ?= 3.11 3.12 3.13

.PHONY: demo up down test check unit format lint types matrix wheel wheel-check bench chaos chaos-short lock site clean help

help:                 ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: run make PYTHON=python3.12 (or another)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)        ## run everything at once on this machine; report in demo-out/report.html
	$(BIN)/streamproc demo --out demo-out

# On a new clone `make up` sets up what it needs and no more, which takes half the time.
$(STAMP_UP): requirements.lock pyproject.toml compose/requirements/up.names
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: run make PYTHON=python3.12 (or another)" >&2; exit 1; }
	@echo "setting up, once; it takes about a minute, or as long as the packages take to come:"
	@echo "  making a Python environment in .venv …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python compose/pick.py requirements.lock compose/requirements/up.names > $(VENV)/up.lock
	@echo "  installing $$(grep -c == $(VENV)/up.lock) packages into it …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(VENV)/up.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

comma := ,
UNKNOWN_PROFILES := $(filter-out sink archive,$(subst $(comma), ,$(COMPOSE_PROFILES)))
ifneq (,$(and $(filter up,$(MAKECMDGOALS)),$(UNKNOWN_PROFILES)))
$(error COMPOSE_PROFILES: there is no $(firstword $(UNKNOWN_PROFILES)); there are archive and sink)
endif

up: $(if $(or $(wildcard $(STAMP)),$(COMPOSE_PROFILES)),$(STAMP),$(STAMP_UP)) ## everything, with a live page in the browser, until Ctrl-C; SOURCE=rtsp://... is your camera
	@$(BIN)/python -m compose up

down:                 ## end what `make up` runs, from another terminal; CLEAN=1 deletes what it kept
	@test -x $(BIN)/python || { echo "nothing was running"; exit 0; }; $(BIN)/python -m compose down $(if $(filter-out 0,$(CLEAN)),--clean)

test: $(STAMP)        ## all tests, on a real broker; what fails beside others is run once more by itself
	$(call tests,$(UNIT),$(AT_ONCE))
	$(call tests,$(BROKER),$(SIDE_BY_SIDE) --durations=25)
	$(call tests,$(ALONE),--durations=10)

unit: $(STAMP)        ## tests that need no broker
	$(BIN)/python -m pytest $(UNIT) $(AT_ONCE)

check: lint types test  ## what CI runs: format, lint, types, all tests

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)      ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

matrix:               ## unit tests on each Python of MATRIX that is at hand
	@found=0; for version in $(MATRIX); do python=; \
	  for candidate in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	    if $$candidate -c pass 2>/dev/null; then python=$$candidate; break; fi; done; \
	  if [ -z "$$python" ]; then echo "== Python $$version is not here, skipped"; continue; fi; \
	  found=1; echo "== Python $$version: $$python"; \
	  $(MAKE) --no-print-directory unit VENV=.venv-$$version PYTHON=$$python || exit 1; done; test $$found = 1

wheel: $(STAMP)       ## build sdist and wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

wheel-check: wheel    ## install the wheel in an empty environment elsewhere and run its demo
	@$(BIN)/python -m tests.wheel_check dist

bench: $(STAMP)       ## speed, beside a plain loop of the same kernels
	$(BIN)/streamproc bench

chaos: $(STAMP)       ## the long fault tests, about an hour; SEED=4 repeats a run
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

chaos-short: $(STAMP) ## the short fault tests, which `make check` runs too
	$(BIN)/python -m pytest tests/chaos

site: $(STAMP)        ## build the documentation into site/
	$(BIN)/python -m sphinx -W --keep-going -n -q docs site
	@echo "site/index.html"

lock:                 ## resolve the newest allowed versions into requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --extra dev \
	  --custom-compile-command "make lock" --upgrade --quiet -o requirements.lock pyproject.toml

clean:                ## remove what the targets made
	rm -rf $(VENV) .venv-3.* dist build site demo-out chaos-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
