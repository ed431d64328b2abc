# Needs python3 (3.11 or newer) and make. Every target first makes what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv --quiet
PIP := $(UV) pip install --compile-bytecode --python $(BIN)/python
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help up demo test test-production golden chaos crash-points fuzz bench bench-large capacity check format docs lock clean overload soak

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/server  ## run the service: NATS on 127.0.0.1:4222, data in ./data
	@$(BIN)/keyscope up

demo: .venv/server  ## play the story against a service of its own, on a free port, in a temporary folder
	@$(BIN)/keyscope up --temporary -- $(BIN)/keyscope demo

test: .venv/dev  ## run the tests
	$(BIN)/pytest -q -n auto

test-production: .venv/dev  ## run the long tests: replicas and NATS nodes killed one by one under load
	$(BIN)/pytest -q -m production tests/production

golden: .venv/dev  ## play recorded cases of Medusa, of the folder GOLDEN=… or our own, and report
	@$(BIN)/python -m tests.golden.runner $(GOLDEN)

chaos: .venv/dev  ## break everything, ROUNDS=… times (20), and prove that nothing is lost or repeated; SEED=… plays it again; STORE=postgresql; UP=1: only `keyscope up`, killed
	@$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) $(if $(STORE),--store $(STORE)) $(if $(UP),--up)

crash-points: .venv/dev  ## end the process between each pair of steps, and prove the same
	$(BIN)/pytest -q -m "production or not production" tests/chaos/test_crash_points.py

overload: .venv/dev  ## offer up to ten times what is sustainable, SECONDS=… (5) at each rate; into benchmarks/results
	@$(BIN)/python -m tests.overload $(if $(SECONDS),--seconds $(SECONDS))

soak: .venv/dev  ## run at a moderate rate for MINUTES=… (60), and see that neither memory, files, tasks nor lag grow
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES))

fuzz: .venv/fuzz  ## throw N=… (10000) messages of rubbish at every door, then bytes that follow the branches; SEED=… sends the same again
	@$(BIN)/python -m tests.hostile --messages $(or $(N),10000) $(if $(SEED),--seed $(SEED))

bench: $(if $(STORE),.venv/dev,.venv/server)  ## measure every row of benchmarks/rows.py in about two minutes; SECONDS=… for each; PEER=medusa; STORE=postgresql
	@$(BIN)/python -m benchmarks $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PEER),--peer $(PEER)) $(if $(STORE),--store $(STORE))

bench-large: .venv/server  ## measure growth up to a million keys: some twenty minutes, 10 GB in the temporary folder
	@$(BIN)/python -m benchmarks --large $(if $(SECONDS),--seconds $(SECONDS))

capacity: .venv/server  ## measure the bytes that an event costs, on disk and in memory: half a minute
	@$(BIN)/python -m benchmarks.capacity

check: .venv/dev  ## format, lint, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev  ## rewrite the code as `make check` wants it
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv/server  ## write schemas, AsyncAPI and the generated parts of the reference anew
	$(BIN)/python -m docs.generate

lock: .venv/uv  ## choose the newest allowed versions of all dependencies anew
	$(COMPILE) --upgrade --extra server --extra tracing --group dev --output-file requirements-dev.txt pyproject.toml
	$(COMPILE) --extra server --extra tracing --constraint requirements-dev.txt --output-file requirements.txt pyproject.toml
	$(COMPILE) --upgrade --group fuzz --output-file requirements-fuzz.txt
	$(COMPILE) --upgrade --group setup --output-file requirements-setup.txt

clean:  ## remove the virtual environment and the caches; data stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

.venv/uv: requirements-setup.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.txt
	@touch $@

.venv/server: .venv/uv requirements.txt pyproject.toml
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

.venv/dev: .venv/server requirements-dev.txt
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# atheris has wheels for some machines only; elsewhere `make fuzz` says that it goes without.
.venv/fuzz: .venv/dev requirements-fuzz.txt
	-$(PIP) --only-binary :all: --require-hashes -r requirements-fuzz.txt
	@touch $@
