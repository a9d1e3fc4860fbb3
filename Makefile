# The two commands a newcomer needs: `make drill` and `make test`. Both set up what they need and say so.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
COMPILED := build/compiled
SWARM_RUNS := 100000
SWARM_SEED := 0
SWARM_REPORT := build/swarm.txt
CLUSTER_RUNS := 50000
CLUSTER_SEED := 0
CLUSTER_REPORT := build/cluster-swarm.txt

.PHONY: help drill test test-compiled lint types bench compiled fuzz fuzz-target soak swarm cluster-swarm clean setup setup-dev debian

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

drill: setup ## run the default failover drill and write its report
	$(BIN)/mpio drill --out drills

test: setup-dev debian lint types ## everything CI checks: lint, types, import contract, all tests
	$(BIN)/pytest
	$(MAKE) test-compiled

test-compiled: compiled ## the tests of what is compiled, once more on the compiled modules
	PYTHONPATH=$(COMPILED) MPIO_TEST_COMPILED=1 $(BIN)/pytest tests/meta/test_compiled.py tests/unit/model \
	  tests/unit/proto_iscsi tests/unit/proto_iscsi_login tests/unit/proto_scsi tests/unit/engine tests/unit/io tests/unit/target

lint: setup-dev ## style and the one-way import contract
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup-dev ## mypy, strict
	$(BIN)/mypy

compiled: setup-dev debian $(COMPILED)/.made ## the per-I/O path compiled with mypyc, in build/compiled (gcc, Python's headers)

$(COMPILED)/.made: setup.py pyproject.toml $(shell find src -name '*.py')
	rm -rf build
	MPIO_COMPILE=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target $(COMPILED) .
	@touch $@

bench: setup-dev debian compiled ## compare with libiscsi, QEMU, tgtd and istgt in one run; how fast planner and simulator are
	$(BIN)/python -m bench.run
	PYTHONPATH=$(COMPILED) $(BIN)/python -m bench.paths
	$(BIN)/python -m bench.plans
	$(BIN)/python -m bench.simulate

fuzz: setup-dev ## a minute of coverage-guided fuzzing for each harness (atheris)
	$(BIN)/pip install --quiet --disable-pip-version-check atheris
	for harness in fuzz/fuzz_*.py; do $(BIN)/python $$harness -max_total_time=60 || exit 1; done

fuzz-target: setup-dev ## ten million hostile inputs for the target, and 200 rounds of killing it
	$(BIN)/python -m fuzz.target_inputs --inputs 10000000
	MPIO_KILL_ROUNDS=200 $(BIN)/pytest tests/integration/test_killed_target.py

soak: setup ## 20 drills in a row, then ten minutes at full load without a false failover
	$(BIN)/mpio drill load --runs 20 --out drills
	$(BIN)/mpio drill quiet --out drills

swarm: setup ## 100,000 simulated runs with random faults on all cores: SWARM_RUNS, SWARM_SEED, SWARM_REPORT
	$(BIN)/python -m mpio.sim.swarm --runs $(SWARM_RUNS) --seed $(SWARM_SEED) --report $(SWARM_REPORT)

cluster-swarm: setup ## 50,000 simulated runs of clusters with heartbeats: CLUSTER_RUNS, CLUSTER_SEED, CLUSTER_REPORT
	$(BIN)/python -m mpio.sim.cluster --runs $(CLUSTER_RUNS) --seed $(CLUSTER_SEED) --report $(CLUSTER_REPORT)

setup: $(VENV)/.runtime ## a virtual environment with the locked runtime packages
setup-dev: $(VENV)/.dev ## the same with the tools for tests and lint

$(VENV)/.runtime: requirements.lock pyproject.toml
	tools/setup-venv $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	tools/setup-venv $(VENV) requirements-dev.lock
	@touch $(VENV)/.runtime $@

debian: ## the Debian packages that interoperability tests and benchmarks run against
	@tools/install-debian-packages

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
