# `make demo` shows it, `make test` proves it. Both set up what they need: Python 3.11 or newer, make and
# a package index are enough. Set-up is done once; stamps in .make/ remember what is done.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
STAMPS := $(CURDIR)/.make
WHEEL := $(STAMPS)/wheel
WORKERS ?= 2
PYTEST_ARGS ?=

# Tests must see the installed wheel and not this folder: they run from an empty folder in which only
# `tests` and what it reads can be imported, with the wheel first on the path.
BED := $(STAMPS)/bed
INSTALLED := env OMP_NUM_THREADS=1 PYTHONPATH="$(WHEEL):$(BED)" PATH="$(WHEEL)/bin:$(BIN):$$PATH"
TESTED = cd $(BED) && $(INSTALLED) COMPOSER_TESTED_FROM="$(WHEEL)" \
	COMPOSER_WANDB_PYTHONS="$(call pythons,$(OLD_CLIENTS))" $(BIN)/pytest \
	-c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) -p no:cacheprovider -n $(WORKERS) -q

# The tracker is also tested with older clients, each in an environment of its own.
OLD_CLIENTS := 0.22
old_client = $(CURDIR)/.venv-wandb-$(1)/bin/python
empty :=
pythons = $(subst $(empty) $(empty),:,$(foreach each,$(1),$(each)=$(call old_client,$(each))))

SOURCES := $(shell find composer -type f -not -name '*.pyc') pyproject.toml README.md LICENSE

.PHONY: help setup system check test test-all demo bench pins clean

help:
	@echo "make demo      train on handwritten digits, draw what happened, open the dashboard"
	@echo "make test      checks, tests against the built wheel, the README's program"
	@echo "make test-all  the same with the full matrices"
	@echo "make check     ruff and pyright"
	@echo "make bench     measure speed"
	@echo "make pins      write requirements/dev.txt anew from the environment"
	@echo "make clean     remove what make has made"

setup: $(STAMPS)/venv system

$(VENV)/bin/python:
	@for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$candidate" -m venv $(VENV); \
		fi; \
	done; \
	echo "no Python 3.11 or newer found; name one with PYTHON=/path/to/python" >&2; exit 1

$(STAMPS)/venv: requirements/torch.txt requirements/dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -r requirements/torch.txt
	$(BIN)/python -m pip install -q -r requirements/dev.txt
	mkdir -p $(STAMPS) && touch $@

system: | $(VENV)/bin/python
	$(BIN)/python tools/system_packages.py

check: $(STAMPS)/venv
	$(BIN)/ruff check .
	$(BIN)/pyright

$(STAMPS)/installed: $(SOURCES) $(STAMPS)/venv
	rm -rf $(WHEEL) $(STAMPS)/dist
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w $(STAMPS)/dist .
	$(BIN)/python -m pip install -q --no-deps --target $(WHEEL) $(STAMPS)/dist/*.whl
	touch $@

$(BED): | $(STAMPS)/venv
	mkdir -p $(BED) && ln -sfn $(CURDIR)/tests $(BED)/tests

$(STAMPS)/wandb-%: requirements/wandb-%.txt | $(VENV)/bin/python
	$(BIN)/python -m venv $(CURDIR)/.venv-wandb-$*
	$(call old_client,$*) -m pip install -q -r $<
	mkdir -p $(STAMPS) && touch $@

test: setup check $(STAMPS)/installed $(BED) $(OLD_CLIENTS:%=$(STAMPS)/wandb-%)
	$(TESTED) $(PYTEST_ARGS) $(CURDIR)/tests | tee $(STAMPS)/tests.log

test-all: OLD_CLIENTS := 0.22 0.19
test-all: setup check $(STAMPS)/installed $(BED) $(STAMPS)/wandb-0.22 $(STAMPS)/wandb-0.19
	export COMPOSER_TRACKER_KILLS=20; $(TESTED) -m "full or not full" $(PYTEST_ARGS) $(CURDIR)/tests | tee $(STAMPS)/tests.log

demo: setup $(STAMPS)/installed
	$(INSTALLED) $(BIN)/python examples/digits.py

bench: setup $(STAMPS)/installed
	@for script in benchmarks/[!_]*.py; do \
		echo "== $$script"; $(INSTALLED) $(BIN)/python "$$script"; \
	done

pins: | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -r requirements/torch.txt
	$(BIN)/python -m pip install -q --upgrade -r requirements/dev.in
	$(BIN)/python tools/freeze.py > requirements/dev.txt.new
	mv requirements/dev.txt.new requirements/dev.txt

clean:
	rm -rf $(STAMPS) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find composer tests -name __pycache__ -type d -prune -exec rm -rf {} +
