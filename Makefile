# Two commands do all set-up: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
# Runs a command with only those variables of the outside that the package indexes need.
NAMED := $(PYTHON) tests/kit/environment.py
ATHERIS := 3.0.0
TESTS := $(NAMED) $(PYTEST) -n 4 --dist worksteal

define CAN_MAKE_VENV
import sys
if sys.version_info < (3, 11):
    sys.exit("Notifier needs Python 3.11 or newer, and this is %d.%d: make run PYTHON=python3.12" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("Python cannot make a virtual environment here. On Debian and Ubuntu: apt install python3-venv")
endef

.PHONY: run test quick style types browser bench chaos attacks fuzz clean

run: $(VENV)/.run
	NOTIFIER_DEV=1 exec $(BIN)/gunicorn wsgi:app

test: $(VENV)/.dev
	tests/peers
	$(TESTS) --durations=10

# What needs no browser and no gunicorn.
quick: $(VENV)/.dev
	$(TESTS) --ignore=tests/e2e

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
	$(NAMED) $(BIN)/python -m benchmarks.run

chaos: $(VENV)/.dev
	$(NAMED) $(BIN)/python -m chaos.run

# What others notice while a service of one's own is attacked, on a machine that does nothing else.
attacks: $(VENV)/.dev
	$(NAMED) $(BIN)/python -m attacks.run

# A minute for each target. atheris is not among the requirements, because it has no wheels for every Python.
fuzz: $(VENV)/.dev
	$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install --quiet atheris==$(ATHERIS)
	$(NAMED) $(BIN)/python -m fuzz.run

clean:
	rm -rf $(VENV) .fuzz .notifier .build build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -f *.db listener.json examples/page/token
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: export CHECK = $(CAN_MAKE_VENV)
$(VENV)/.run: requirements.txt
	@$(PYTHON) -c "$$CHECK"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt examples/requirements.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
