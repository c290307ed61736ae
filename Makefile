# Set-up and everyday commands. Needs Python 3.11 and make; installs into .venv and nowhere else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

# The main job on generated data: autoconfigure, train, predict, evaluate. About six minutes on two cores.
demo: .venv/installed
	$(BIN)/auto3dlandmark demo demo_work

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/black --check --quiet auto3dseg_plugin tests
	$(BIN)/isort --check --quiet auto3dseg_plugin tests
	$(BIN)/flake8 auto3dseg_plugin tests
	$(BIN)/mypy auto3dseg_plugin/auto3dlandmark

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo_work build dist
