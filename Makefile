# Set-up and everyday commands. Needs Python 3.11 and make; installs into .venv and nowhere else.
PYTHON ?= python3
BIN := .venv/bin

LABEL_BIN := .venv-label/bin
comma := ,
LABEL_TESTS := pytest pytest-xdist schemathesis playwright axe-playwright-python

.PHONY: demo test test-fast label-env lint web constraints clean

# The main job on generated data: autoconfigure, train, predict, evaluate. About six minutes on two cores.
demo: .venv/installed
	$(BIN)/auto3dlandmark demo demo_work

# A process for each core, each with one thread; a file's tests stay together, as they share what they made. Files
# come in the order of tests/conftest.py: the longest first.
TEST = OMP_NUM_THREADS=1 $(1)/python -m pytest -n $(2) --dist loadfile --no-loadscope-reorder

# Tests of the server wait for it half of the time.
ONE_MORE = $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))")

test: .venv/installed .venv-label/installed
	$(call TEST,$(BIN),auto)
	$(call TEST,$(LABEL_BIN),$(ONE_MORE)) tests/label

# What takes under ten seconds: for the time between two edits.
test-fast: .venv/installed
	$(call TEST,$(BIN),auto) -m "not slow"

# MONAI Label needs an environment of its own: numpy 1 and pydicom 2.
label-env: .venv-label/installed

lint: .venv/installed
	$(BIN)/ruff check auto3dseg_plugin apps tests
	$(BIN)/ruff format --check auto3dseg_plugin apps tests
	$(BIN)/mypy auto3dseg_plugin/auto3dlandmark apps/monailabel_landmarks

# The review page, made anew from its sources, and their tests; needs Node 20. What is built is committed.
web:
	cd apps/monailabel_landmarks/web && npm ci --no-fund --no-audit && npm run build && npm test

# Both files of versions, made anew: what a fresh environment gets, and nothing else. torch stays what constraints.txt
# says. With KEEP=1 all versions stay, and only what is not needed any more goes.
constraints:
	$(call freeze,constraints.txt,.[dev])
	$(call freeze,constraints-label.txt,.[label$(comma)register] $(LABEL_TESTS))

define freeze
	rm -rf build/fresh && $(PYTHON) -m venv build/fresh
	grep -E $(if $(KEEP),'==','^torch==') $(1) > build/known.txt
	PIP_CONSTRAINT=build/known.txt build/fresh/bin/python -m pip install --quiet $(foreach part,$(2),'$(part)')
	(grep '^#' $(1); build/fresh/bin/python -m pip freeze --all --exclude pip --exclude auto3dlandmark | sed 's/+cpu//') > build/$(1)
	mv build/$(1) $(1)
	rm -rf build/fresh build/known.txt
endef

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-label/installed: setup.cfg pyproject.toml constraints-label.txt
	$(PYTHON) -m venv .venv-label
	PIP_CONSTRAINT=constraints-label.txt $(LABEL_BIN)/python -m pip install --quiet --editable '.[label,register]' $(LABEL_TESTS)
	touch $@

clean:
	rm -rf .venv .venv-label demo_work build dist
