# Needs Python 3.11 to 3.13 with venv and headers, a C compiler and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := pyproject.toml setup.py $(shell find native -name '*.pyx' -o -name '*.pxd')
COMPILED := $(addprefix runner.dispatch._,mapped board ledger loop report) $(addprefix runner.dataset._,scan keys)
PROTOC = build/protos/bin/python -m grpc_tools.protoc -I protos -I $$(echo build/protos/lib/python*/site-packages)
STUBS = $(PROTOC) --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $$(find protos -name '*.proto')
MAKEFLAGS += --no-print-directory
.PHONY: help demo build lint type test simulate crash-points chaos bench docs protos protos-check native-debug check clean

help: ## show this list
	@sed -nE 's/^([a-z-]+):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

demo: .venv/.runner ## build, then score a million rows on Ray
	$(BIN)/python examples/wine/make_data.py && $(BIN)/runner submit examples/wine/job.yml --overwrite

build: .venv/.dev ## compile the native core in place, with everything that development needs

lint: .venv/.dev ## ruff, and the layers of the rooms
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

type: .venv/.dev ## mypy, and the stubs against the compiled modules
	$(BIN)/mypy && $(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml $(COMPILED)

test: .venv/.dev ## every test, two at a time
	$(BIN)/python -m pytest -n 2

crash-points: .venv/.dev ## kill or fail driver and instance at every file-system operation (an hour)
	$(BIN)/python -m pytest -m soak tests/crash

simulate: .venv/.dev ## a driver's core in a world that fails by a seed; SEEDS=n of them
	$(BIN)/python tests/simulation/simulate.py --seeds $(or $(SEEDS),20000)

chaos: .venv/.dev ## a job of minutes on Ray whose processes are all killed at random; SEED=n repeats one
	$(BIN)/python -m pytest -m soak -s tests/chaos

native-debug: .venv/.dev ## the native tests on a build with bounds and overflow checks, in build/debug
	rm -rf build/debug/tests && mkdir -p build/debug && tar -c --exclude='*.so' --exclude=__pycache__ $(SOURCES) README.md LICENSE runner tests | tar -x -C build/debug
	cd build/debug && export RUNNER_NATIVE_DEBUG=1 PYTHONPATH=$$PWD PATH=$$PWD/../../$(BIN):$$PATH && python setup.py --quiet build_ext --inplace && python -m pytest tests/native

bench: .venv/.bench ## every benchmark in its quick mode
	for bench in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$bench .py) --quick || exit; done

docs: .venv/.dev ## write the tables of the reference of the job YAML anew
	$(BIN)/python tests/schema_tables.py

protos: build/protos/.stamp ## write the generated stubs of runner/api anew
	$(call STUBS,.)

protos-check: build/protos/.stamp ## the committed stubs are what the protos give
	rm -rf build/stubs && mkdir -p build/stubs && $(call STUBS,build/stubs) && diff -r -x '__*' build/stubs/runner/api/v1 runner/api/v1

check: lint type protos-check native-debug ## exactly what CI runs
	@$(MAKE) test

clean: ## remove what was built; .venv stays, but is brought up to date by the next target
	rm -rf build dist .*_cache *.egg-info .venv/.runner .venv/.dev .venv/.bench && find runner -name '*.so' -delete

.venv/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else f"runner needs Python 3.11 to 3.13, $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) install 'pip>=25.1'

.venv/.runner: $(SOURCES) | .venv/bin/python
	$(PIP) --quiet install --editable '.[examples]' && $(BIN)/python -m compileall -q runner && touch $@

.venv/.dev: $(SOURCES) | .venv/bin/python
	$(PIP) install --group dev && $(PIP) --quiet install --no-build-isolation --editable '.[polars,examples]' && $(BIN)/python -m compileall -q runner && touch $@

.venv/.bench: .venv/.dev
	$(PIP) install --group bench && touch $@

build/protos/.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m venv build/protos && build/protos/bin/python -m pip --quiet install 'pip>=25.1' && build/protos/bin/python -m pip --quiet install --group protos && touch $@
