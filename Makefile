# Two commands for a newcomer: `make demo` and `make test`. PYTHON picks the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SAMPLE := tests/data/sample_T1w.nii.gz
DEMO := demo

.PHONY: help demo test lint format bench clean

help:
	@echo "make demo   install into $(VENV), build engines, enhance the sample scan"
	@echo "make test   everything that CI runs"
	@echo "make lint   formatting, linting and type checks"
	@echo "make bench  the benchmarks, against the PyTorch path"
	@echo "make clean  remove what the above made"

# pip 25.1 is the first that knows dependency groups.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'

# One stamp per set of packages; sources newer than it are installed again.
SOURCES := setup.py pyproject.toml $(shell find csrc moediff_rt -type f -not -name '*.pyc')
$(VENV)/.runtime: $(BIN)/python $(SOURCES)
	$(BIN)/pip install --quiet .
	@touch $@

$(VENV)/.authoring: $(VENV)/.runtime export/pyproject.toml
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --group test --editable export
	@touch $@

$(VENV)/.lint: $(VENV)/.runtime
	$(BIN)/pip install --quiet --group lint
	@touch $@

demo: $(VENV)/.runtime
	@mkdir -p $(DEMO)
	$(BIN)/moediff-rt build-engines
	$(BIN)/moediff-rt infer $(SAMPLE) -o $(DEMO)/sample_desc-moediffsr_T1w.nii.gz \
		--figure $(DEMO)/before_after.png --overwrite
	@echo
	@echo "enhanced scan:    $(DEMO)/sample_desc-moediffsr_T1w.nii.gz"
	@echo "how it was made:  $(DEMO)/sample_desc-moediffsr_T1w.json"
	@echo "before and after: $(DEMO)/before_after.png"

test: $(VENV)/.authoring
	$(BIN)/cmake -S csrc -B build/tests -G Ninja -DMOEDIFF_RT_TESTS=ON -DMOEDIFF_RT_PYTHON=OFF \
		-DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)
	$(BIN)/cmake --build build/tests
	$(BIN)/ctest --test-dir build/tests --output-on-failure
	$(BIN)/pytest

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	git ls-files '*.cpp' '*.h' '*.cu' '*.c' | xargs $(BIN)/clang-format --dry-run -Werror

format: $(VENV)/.lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	git ls-files '*.cpp' '*.h' '*.cu' '*.c' | xargs $(BIN)/clang-format -i

bench: $(VENV)/.authoring
	$(BIN)/pytest benchmarks --benchmark-json=build/benchmark.json

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
