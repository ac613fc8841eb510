# make demo: a venue through a crash, with a report in out/.   make test: the whole test suite.
# Both make their own .venv and install what they need; a C++ compiler and Python >= 3.11 suffice.
# Others: bench, bench-quick, bench-peers, rules, soak, planted, mutate, lint, clean.
# make PYTHON=python3.12 test picks a Python.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test bench bench-quick bench-peers rules soak planted mutate lint clean FORCE

PYTHON ?=
VENV := .venv
PEERS := .venv-peers
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
BUILD_TOOLS := "scikit-build-core>=0.11" "Cython>=3.1,<3.4" "cmake>=3.21" ninja
# The interpreted part is used where it lies: only its list of files matters, not their contents.
SOURCES := pyproject.toml CMakeLists.txt $(shell find cython -type f 2>/dev/null) $(VENV)/files.list

demo: $(VENV)/demo.stamp
	$(VENV)/bin/perpcore cascade --out out

test: $(VENV)/test.stamp
	$(RUN) -m pytest -q

# Every case at full size, one table with targets: out/bench.json, out/plots.html.
bench: $(VENV)/test.stamp
	@mkdir -p out
	$(RUN) -m pytest benchmarks/bench_*.py -q --benchmark-only --benchmark-quiet \
	  --benchmark-json=out/bench.json
	$(RUN) benchmarks/plots.py

bench-quick: $(VENV)/test.stamp
	$(RUN) benchmarks/guard.py

# Order books and scans that a user would take instead, beside ours; results are compared.
bench-peers: $(PEERS)/build.stamp
	$(PEERS)/bin/python benchmarks/peers/compare.py

# Every rule of the venue, its tests, and a mutation of its code that makes one of them fail.
rules: $(VENV)/test.stamp
	$(RUN) tests/rules.py

# Model and engine side by side for SOAK_MINUTES (30) on all cores, with a coverage matrix.
soak: $(VENV)/test.stamp
	$(RUN) tests/soak/soak.py

# Bugs planted into the engine one by one, and how soon the soak finds each: about ten minutes.
planted: $(VENV)/test.stamp
	$(RUN) scripts/planted

# Mutants of the engine drawn from a seed, and which of them the tests notice: about an hour.
mutate: $(VENV)/test.stamp
	$(RUN) scripts/mutate --count 124

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	PATH="$(abspath $(VENV))/bin:$$PATH" cython-lint --max-line-length 100 cython examples
	MYPYPATH=src $(VENV)/bin/mypy
	MYPYPATH=src $(RUN) -m mypy.stubtest --ignore-unused-allowlist \
	  --allowlist tests/typing/allowlist.txt \
	  perpcore.codes perpcore.margin perpcore.book perpcore.engine

clean:
	rm -rf $(VENV) $(PEERS) build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks

$(VENV)/bin/python:
	@scripts/make-venv "$(VENV)" "$(PYTHON)"

$(VENV)/build.stamp: $(VENV)/bin/python
	$(PIP) install $(BUILD_TOOLS)
	@touch $@

$(VENV)/files.list: FORCE | $(VENV)/bin/python
	@find src -type f ! -name '*.pyc' | LC_ALL=C sort >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(VENV)/demo.stamp: $(VENV)/build.stamp $(SOURCES)
	$(PIP) install --no-build-isolation --editable ".[report]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install --no-build-isolation --editable ".[test,bench]"
	@touch $@

# The peers' own environment; behind their packages it sees those of $(VENV). One that does not
# install is left out of the comparison, which says so.
$(PEERS)/build.stamp: $(VENV)/test.stamp benchmarks/peers/requirements.txt
	$(RUN) -m venv $(PEERS)
	@while read -r name; do \
	  $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install "$$name" || \
	    echo "$$name does not install here"; \
	done <benchmarks/peers/requirements.txt
	@own='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  echo "import site; site.addsitedir('$$($(abspath $(RUN)) -c "$$own")')" \
	    >"$$($(PEERS)/bin/python -c "$$own")/perpcore-venv.pth"
	@touch $@
