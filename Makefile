PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: demo demo-tj-aidl demo-smoke test test-slow test-data test-faults lint docs install clean

install: $(STAMP)

$(STAMP): setup.py $(wildcard requirements/*.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c requirements/constraints.txt -e '.[tests]'
	touch $@

# Draws the embedded data, trains MAR on it and compares: table and picture.
demo: $(STAMP)
	$(BIN)/python tools/reproduce.py mar/demo --jobs 2 \
		--work-dir work_dirs/demo

# The same for TJ-AIDL, with the baselines of its paper.
demo-tj-aidl: $(STAMP)
	$(BIN)/python tools/reproduce.py tj_aidl/demo --jobs 2 \
		--work-dir work_dirs/demo_tj_aidl

# Both with few people and iterations: that they run, not what they reach.
demo-smoke: $(STAMP)
	$(BIN)/python tools/reproduce.py mar/demo --jobs 2 --smoke \
		--work-dir work_dirs/demo_smoke
	$(BIN)/python tools/reproduce.py tj_aidl/demo --jobs 2 --smoke \
		--work-dir work_dirs/demo_tj_aidl_smoke

# A process per core and file, of one thread each.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile \
		-m 'not slow and not real_data'

# Tests that train for more than some seconds.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# Tests that read real data sets below $$MMREID_DATA, weights below
# $$MMREID_WEIGHTS.
test-data: $(STAMP)
	$(BIN)/python -m pytest -m real_data

# Kills, full disks, damaged files, wrong input: what is lost must be 0.
test-faults: $(STAMP)
	$(BIN)/python tests/faults.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site of docs/, in build/docs/index.html. What is not found is an error.
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx --quiet --nitpicky --fail-on-warning --keep-going \
		-c docs . build/docs

$(DOCS_STAMP): $(STAMP) requirements/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c requirements/constraints.txt -r requirements/docs.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info  # work_dirs has trainings: not here
