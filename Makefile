# Two commands do all set-up: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tools that only maintainers need: see requirements-tools.in.
TOOLS := .build/tools
LICENSES := MIT;BSD;Apache;ISC;Python Software Foundation;PSF;MPL-2.0;Mozilla Public License 2.0;Zope Public;ZPL
PIP := python -m pip install --quiet --disable-pip-version-check --require-hashes -r
INSTALL := $(BIN)/$(PIP)
PYTEST := $(BIN)/pytest
# Runs a command with only those variables of the outside that the package indexes need.
NAMED := $(PYTHON) tests/kit/environment.py
TESTS := $(NAMED) $(PYTEST) --dist worksteal

define CAN_MAKE_VENV
import sys
if sys.version_info < (3, 11):
    sys.exit("Notifier needs Python 3.11 or newer, and this is %d.%d: make run PYTHON=python3.12" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("Python cannot make a virtual environment here. On Debian and Ubuntu: apt install python3-venv")
endef

.PHONY: run test quick style types browser bench chaos attacks fuzz lowest highest pins sbom licenses audit manifests clean

run: $(VENV)/.run
	NOTIFIER_DEV=1 exec $(BIN)/gunicorn wsgi:app

test: $(VENV)/.dev
	tests/peers
	$(TESTS) -n 4 --durations=10

# The tests that need no browser and no gunicorn, with fewer random examples. They seldom wait, so that three workers
# keep two cores busy, and each worker collects all tests.
quick: $(VENV)/.dev
	$(TESTS) -n 3 --ignore=tests/e2e --hypothesis-profile=quick

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

# Measures the delays of other clients while a service that it starts is attacked. Needs an idle machine.
attacks: $(VENV)/.dev
	$(NAMED) $(BIN)/python -m attacks.run

# A minute for each target. atheris has requirements of its own, because it has no wheels for every Python.
fuzz: $(VENV)/.dev
	$(BIN)/python -c "import atheris" 2>/dev/null || $(INSTALL) requirements-fuzz.txt
	$(NAMED) $(BIN)/python -m fuzz.run

# The client with the lowest and the highest versions that pyproject.toml allows; `make test` has the pinned ones.
lowest highest: $(VENV)/.dev
	$(NAMED) tests/ranges $@

# Writes all pins, with the hashes of all files of each version. UPGRADE=--upgrade takes the newest versions.
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--annotation-style line --custom-compile-command "make pins" --no-emit-index-url --no-emit-find-links $(UPGRADE)
pins: $(TOOLS)/.ready
	$(COMPILE) --extra server pyproject.toml -o requirements.txt
	$(COMPILE) --extra server pyproject.toml requirements-dev.in examples/requirements.txt -c requirements.txt \
		-o requirements-dev.txt
	$(COMPILE) requirements-tools.in -o requirements-tools.txt
	$(COMPILE) requirements-fuzz.in -o requirements-fuzz.txt
	npm install --package-lock-only --no-audit --no-fund

# The bill of materials of the service, in CycloneDX.
sbom: $(TOOLS)/.ready
	$(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o sbom.json requirements.txt

# The licenses of what the service installs. It fails if one is not known to be compatible with the MIT license.
licenses: $(VENV)/.run $(TOOLS)/.ready
	$(TOOLS)/bin/pip-licenses --python $(BIN)/python --from mixed --format markdown --order license \
		--packages $$(grep -o '^[a-z0-9-]*==' requirements.txt | tr -d =) \
		--partial-match --allow-only '$(LICENSES)'

# Known vulnerabilities of all pins. Both need the registries' advisories, which not every mirror has.
audit: $(TOOLS)/.ready
	for file in requirements.txt requirements-dev.txt requirements-tools.txt; do \
		$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes -r $$file || exit 1; \
	done
	npm audit

# Checks compose.yaml and the Kubernetes manifests against their schemas.
manifests: $(TOOLS)/.ready
	$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(TOOLS)/bin/kubernetes-validate --strict $(wildcard docs/deploy/kubernetes/*.yaml)

clean:
	rm -rf $(VENV) .fuzz .notifier .build build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	rm -f *.db sbom.json listener.json examples/page/token
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: export CHECK = $(CAN_MAKE_VENV)
$(VENV)/.run: requirements.txt
	@$(PYTHON) -c "$$CHECK"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(INSTALL) requirements-dev.txt
	touch $@

$(TOOLS)/.ready: requirements-tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/$(PIP) requirements-tools.txt
	touch $@
