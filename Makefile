# make demo    good, bad and evil workers on this machine; DEMO='--bad 5' for more of a kind
# make test    all tests
# make chaos   the tests that need minutes: large unruly fleets, workers that die; make chaos SHORT=1 for less
# make faults  every fault of tests/faults/rows.py is injected; takes an hour
# make simulate SEEDS=10000    the whole product in virtual time, from so many seeds; FIRST=N: the first of them;
#              make simulate SEED=123 tells the story of one
# make lint    ruff and mypy
# make docs    the documentation, in docs/_build/html
# make clean   remove what these have made
#
# Each makes its virtual environment, .venv, if there is none.  Another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
BIN := .venv/bin
TEST_SECONDS := 1800
TESTS ?=
SHORT ?=
SEEDS ?= 1000
FIRST ?= 0
SEED ?=
DEMO ?=

# The last defence against a test that hangs.  At a terminal Ctrl-C must still reach the tests.
TIMEOUT = $(shell command -v timeout >/dev/null && echo timeout --kill-after=30 \
	$$(test -t 0 && echo --foreground) $(TEST_SECONDS))

.PHONY: demo test chaos faults simulate lint docs clean

test: .venv/installed-test
	$(TIMEOUT) $(BIN)/python -m pytest \
		$(if $(TESTS),$(TESTS),--numprocesses 3 --dist loadfile --no-loadscope-reorder)

chaos: .venv/installed-test
	$(TIMEOUT) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
		$(if $(SHORT),--short) $(or $(TESTS),tests/chaos)

# The tests of rows elsewhere are named by the table itself.
faults: TEST_SECONDS := 7200
faults: .venv/installed-test
	$(TIMEOUT) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --full tests/faults \
		$(or $(TESTS),$$($(BIN)/python tests/faults/rows.py))

simulate: .venv/installed-test
	$(BIN)/python tests/simulation/run.py $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST))

lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

demo: .venv/installed-run
	$(BIN)/hagoop-demo $(DEMO)

clean:
	rm -rf .venv build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed-run: EXTRAS :=
.venv/installed-test: EXTRAS := [test]
.venv/installed-lint: EXTRAS := [lint]
.venv/installed-docs: EXTRAS := [docs]

# Anew when the dependencies may have changed.
.venv/installed-%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRAS)'
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "HaGoop needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
		"name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "$(PYTHON) cannot make virtual environments;" \
		"on Debian: apt-get install python3-venv" >&2; exit 1; }
