# make run: the main job on this machine.  make check: lint, types and unit tests.  make test: every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run check test install docs diagrams bench bench-check clean

# Where a Docker engine answers the nodes are containers, and need their image.
run: install
	@runtime=auto; \
	if docker info >/dev/null 2>&1 && ! docker image inspect pgunison-node:latest >/dev/null 2>&1 && ! ./docker-build.sh; then \
	    echo "no image, so the nodes run as processes of this machine" >&2; runtime=process; \
	fi; \
	$(BIN)/python3 orchestrator.py --runtime $$runtime

# a minute: what to call before each commit (lint, types, floors, unit tests)
check: install
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python3 -m pytest -n 2 tests/unit

# two files at a time, because most tests wait for something most of the time
test: install
	$(BIN)/python3 -m pytest -n 2 tests/unit
	$(BIN)/python3 -m pytest -n 2 --dist loadfile tests/integration tests/convergence

install: $(VENV)/installed

# A new setup.cfg installs anew.
$(VENV)/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python3 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python3 -m pip install --quiet --disable-pip-version-check --editable '.[embedded,test]'
	touch $@

docs: install
	$(BIN)/python3 -m esb_config.documentation > docs/services.md
	$(BIN)/python3 -m services.documentation > docs/merge-of-table1.sql

# docs/diagrams/*.d2 as pictures; needs Node.js and npm
diagrams:
	npm install --silent --no-save --prefix build/d2 @terrastruct/d2@0.1.33
	node docs/diagrams/render.mjs build/d2

bench: install
	$(BIN)/python3 -m bench.startup
	$(BIN)/python3 -m bench.idle
	$(BIN)/python3 -m bench.cost
	$(BIN)/python3 -m bench.pool

# a tenth worse than the committed table, in instructions: says so on a busy machine, too
bench-check: install
	$(BIN)/python3 -m bench.instructions --check

clean:
	rm -rf $(VENV) build *.egg-info
