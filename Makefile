# Everything happens in .venv; nothing is installed elsewhere. PYTHON may name any Python from 3.11 on.
PYTHON ?= python3
BIN := .venv/bin

PAGE := src/zerosum/page
JS := $(BIN)/js-beautify --indent-size 2 --brace-style collapse,preserve-inline --end-with-newline
CSS := $(BIN)/css-beautify --indent-size 2 --end-with-newline

.PHONY: demo test lint format docs installed clean

demo: .venv/ready  ## train on the digits that come with scikit-learn, about a minute: a picture and a report
	$(BIN)/zerosum train digits --out runs/demo
	$(BIN)/python benchmarks/digits_quality.py runs/demo
	$(BIN)/zerosum report runs/demo

test: .venv/ready  ## the whole suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

docs: .venv/ready  ## the site: docs/_build/html/index.html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

installed:  ## the wheel in an environment of its own, with what it requires and no more
	rm -rf build/installed
	$(PYTHON) -m venv build/installed
	build/installed/bin/pip wheel --quiet --no-deps --wheel-dir build/installed/wheel .
	build/installed/bin/pip install --quiet --constraint constraints.txt build/installed/wheel/*.whl
	cd build/installed && bin/zerosum train digits --steps 20 --quiet --out run && bin/zerosum report run --quiet && bin/zerosum sample run --n 9 --out made.png

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/djlint --quiet --check $(PAGE)/templates
	$(BIN)/djlint --quiet --lint $(PAGE)/templates
	for file in $(PAGE)/static/*.js; do $(JS) $$file | diff $$file - || exit 1; done
	for file in $(PAGE)/static/*.css; do $(CSS) $$file | diff $$file - || exit 1; done

format: .venv/ready
	$(BIN)/ruff format .
	-$(BIN)/djlint --quiet --reformat $(PAGE)/templates
	$(JS) --replace $(PAGE)/static/*.js
	$(CSS) --replace $(PAGE)/static/*.css

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "zerosum needs Python 3.11 or newer: make PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs
