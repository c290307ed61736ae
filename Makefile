# Set-up and everyday commands. Needs Python 3.11 and make; installs into .venv and nowhere else.
PYTHON ?= python3
BIN := .venv/bin

LABEL_BIN := .venv-label/bin

.PHONY: demo test label-env lint clean

# The main job on generated data: autoconfigure, train, predict, evaluate. About six minutes on two cores.
demo: .venv/installed
	$(BIN)/auto3dlandmark demo demo_work

test: .venv/installed .venv-label/installed
	$(BIN)/python -m pytest
	$(LABEL_BIN)/python -m pytest tests/label

# MONAI Label needs an environment of its own: numpy 1 and pydicom 2.
label-env: .venv-label/installed

lint: .venv/installed
	$(BIN)/black --check --quiet auto3dseg_plugin apps tests
	$(BIN)/isort --check --quiet auto3dseg_plugin apps tests
	$(BIN)/flake8 auto3dseg_plugin apps tests
	$(BIN)/mypy auto3dseg_plugin/auto3dlandmark

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-label/installed: setup.cfg pyproject.toml constraints-label.txt
	$(PYTHON) -m venv .venv-label
	PIP_CONSTRAINT=constraints-label.txt $(LABEL_BIN)/python -m pip install --quiet --editable '.[label]' pytest
	touch $@

clean:
	rm -rf .venv .venv-label demo_work build dist
