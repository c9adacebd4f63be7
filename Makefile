# Two commands: `make quickstart` installs and runs the whole pipeline on synthetic hands; `make test` installs what the
# tests need and runs them all. Needed on the machine: Python 3.11 or newer and a C++ compiler.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUICKSTART_DIR ?= quickstart
# All cores but never so many that a small machine swaps.
TEST_PROCESSES ?= auto

.PHONY: quickstart test test-quick install install-dev lint format architecture docs clean

quickstart: install
	$(BIN)/simhand quickstart --workspace $(QUICKSTART_DIR)

test: install-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

# The tests that take a second or less each: under two minutes on two cores.
test-quick: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -m 'not slow'

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("simhand needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The picture in docs/architecture.md, from the imports as they are now.
architecture: install-dev
	$(BIN)/python -m tools.draw_architecture

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(QUICKSTART_DIR) build site *.egg-info
