# Two commands do all set-up: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test style types browser bench chaos clean

run: $(VENV)/.run
	NOTIFIER_DEV=1 exec $(BIN)/gunicorn wsgi:app

test: $(VENV)/.dev
	tests/peers
	$(BIN)/pytest -n 2 --dist loadfile

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Only after a change in browser/src: what it makes is committed.
browser:
	tests/peers
	node browser/build.js

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

chaos: $(VENV)/.dev
	$(BIN)/python -m chaos.run

clean:
	rm -rf $(VENV) .notifier .build build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -f *.db listener.json examples/page/token
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt examples/requirements.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
