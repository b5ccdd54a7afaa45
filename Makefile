# Two commands for a newcomer: `make demo` and `make test`. PYTHON picks the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SAMPLE := tests/data/sample_T1w.nii.gz
DEMO := demo

.PHONY: help demo native-tests test test-sanitize c-library lint format bench gpu-check train study ablation clean

help:
	@echo "make demo   install into $(VENV), build engines, enhance the sample scan"
	@echo "make test   every test that CI runs"
	@echo "make test-sanitize  the C and C++ tests under ASan, UBSan, TSan and valgrind"
	@echo "make c-library PREFIX=DIR  build the C library and install it there"
	@echo "make lint   formatting, linting and type checks"
	@echo "make bench  the benchmarks, against five other ways (BENCH=quick: 2 to 3 minutes)"
	@echo "make gpu-check  on a GPU machine: build, GPU tests, figures (SCAN=head.nii.gz)"
	@echo "make train  shards, training and bundle, in runs/ (PAIRS, SEED, STEPS)"
	@echo "make study  what the model is compared with, trained and evaluated, in runs/study"
	@echo "make ablation  which training data transfer: trained and evaluated, in runs/ablation"
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

$(VENV)/.bench: $(VENV)/.authoring
	$(BIN)/pip install --quiet --group bench
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

# Quoted where it is used, as a checkout's path may have spaces, which abspath takes for several.
WHERE := $(if $(filter /%,$(BIN)),$(BIN),$(CURDIR)/$(BIN))
CONFIGURE = $(BIN)/cmake -S csrc -G Ninja -DCMAKE_MAKE_PROGRAM="$(WHERE)/ninja" \
	-DPython_EXECUTABLE="$(WHERE)/python" -DMOEDIFF_RT_PYTHON=OFF

native-tests: $(VENV)/.authoring
	$(CONFIGURE) -B build/tests -DMOEDIFF_RT_TESTS=ON -DMOEDIFF_RT_C_LIBRARY=ON
	$(BIN)/cmake --build build/tests

test: native-tests
	$(BIN)/ctest --test-dir build/tests --output-on-failure
	MOEDIFF_RT_C_LIBRARY_BUILD=build/tests $(BIN)/pytest

# OpenVINO's own code is not instrumented: TSan looks at ours alone, and TBB loads its parts in the
# sanitizers' way. Most tests have engines that stand in, which are.
SANITIZERS := address,undefined thread
SANITIZED = TBB_ENABLE_SANITIZERS=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1
MEMCHECK = valgrind --quiet --error-exitcode=1 --leak-check=full --suppressions=tests/csrc/valgrind.supp
test-sanitize: native-tests
	rm -rf build/tiny
	PYTHONPATH=tests/python $(BIN)/python -c "import tiny_bundle; tiny_bundle.make_bundle('build/tiny')"
	for kind in $(SANITIZERS); do \
		folder=build/sanitize-$$kind; \
		$(CONFIGURE) -B $$folder -DMOEDIFF_RT_TESTS=ON -DMOEDIFF_RT_CUDA=OFF \
			-DMOEDIFF_RT_SANITIZE=$$kind \
		&& $(BIN)/cmake --build $$folder \
		&& $(SANITIZED) $(BIN)/ctest --test-dir $$folder --output-on-failure \
		&& $(SANITIZED) $$folder/test_c_threads build/tiny || exit; \
	done
	for name in c_guard c_device_memory c_library c_threads "c_threads build/tiny"; do \
		$(MEMCHECK) build/tests/test_$$name || exit; \
	done

# A C program needs no Python: the environment is for the build, which takes OpenVINO from its wheel.
OPENVINO := $(shell sed -n 's/.*"\(openvino==[^"]*\)".*/\1/p' pyproject.toml | head -1)
$(VENV)/.native: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet '$(OPENVINO)' 'cmake>=3.21,<5' ninja
	@touch $@

c-library: $(VENV)/.native
	@test -n "$(PREFIX)" || { echo "make c-library: expected PREFIX=DIR, found none;" \
		"name the folder to install into"; exit 2; }
	$(CONFIGURE) -B build/c-library -DMOEDIFF_RT_C_LIBRARY=ON
	$(BIN)/cmake --build build/c-library
	$(BIN)/cmake --install build/c-library --prefix "$(PREFIX)"

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' '*.c' | xargs $(BIN)/clang-format --dry-run -Werror

format: $(VENV)/.lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' '*.c' | xargs $(BIN)/clang-format -i

# Figures go to benchmarks/results; those of `make bench BENCH=quick` to build/benchmarks.
bench: $(VENV)/.bench
	BENCH=$(BENCH) $(BIN)/pytest benchmarks -q

# PYTHON must have PyTorch; nothing is installed.
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py $(if $(SCAN),--scan $(SCAN))

# Training goes on where it stopped, and its bundle is that of the last save.
RUNS ?= runs
PAIRS ?= 6000
SEED ?= 4
STEPS ?= 12000
THREADS ?= 0
$(RUNS)/shards: | $(VENV)/.authoring
	rm -rf $@.part
	$(BIN)/moediff-export data -o $@.part --pairs $(PAIRS) --seed $(SEED)
	mv $@.part $@

train: $(VENV)/.authoring | $(RUNS)/shards
	$(BIN)/moediff-export train $(RUNS)/shards --config edge -o $(RUNS)/edge \
		--max-minutes 600 --max-steps $(STEPS) --threads $(THREADS) $(if $(wildcard $(RUNS)/edge/checkpoint),--resume)
	$(BIN)/moediff-export onnx $(RUNS)/edge/checkpoint -o $(RUNS)/bundle --overwrite \
		--card export/cards/edge.json --int8 $(RUNS)/shards

# Each variant gets the same steps on the same data, at a size that trains in minutes.
STUDY_STEPS ?= 1000
VARIANTS := mixture single unet uniform_gate no_regions no_mad no_diversity no_uncertainty \
	one_slice blind_decoder
study: $(VENV)/.authoring | $(RUNS)/shards
	for variant in $(VARIANTS); do \
		$(BIN)/moediff-export train $(RUNS)/shards --config small --variant $$variant --crop 96 \
			-o $(RUNS)/study/$$variant --max-minutes 600 --max-steps $(STUDY_STEPS) \
			--threads $(THREADS) $$([ -e $(RUNS)/study/$$variant/checkpoint ] && echo --resume) \
			|| exit; \
	done
	$(BIN)/moediff-export onnx $(RUNS)/study/mixture/checkpoint -o $(RUNS)/study/bundle --overwrite
	$(BIN)/moediff-export evaluate $(RUNS)/study/bundle -o $(RUNS)/study/report --quick --overwrite \
		--comparator "single expert=$(RUNS)/study/single/checkpoint" \
		$(foreach v,$(filter-out mixture single,$(VARIANTS)),\
			--comparator $(v)=$(RUNS)/study/$(v)/checkpoint)
	$(BIN)/moediff-export curves $(RUNS)/study -o $(RUNS)/study/gate.png

# Which data transfer: own intensities alone, the default mixture, painted brains alone. Each gets
# the same number of slabs and of steps, and all are evaluated on slabs of several sharpness.
ABLATION_PAIRS ?= 960
PAINTED := 0 0.6 1
ablation: $(VENV)/.authoring
	for share in $(PAINTED); do \
		run=$(RUNS)/ablation/$$share; \
		[ -e $$run/shards ] || { rm -rf $$run/part && $(BIN)/moediff-export data -o $$run/part \
			--pairs $(ABLATION_PAIRS) --painted $$share && mv $$run/part $$run/shards; } || exit; \
		$(BIN)/moediff-export train $$run/shards --config small --crop 96 -o $$run/run \
			--max-minutes 600 --max-steps $(STUDY_STEPS) --threads $(THREADS) \
			$$([ -e $$run/run/checkpoint ] && echo --resume) || exit; \
	done
	$(BIN)/moediff-export onnx $(RUNS)/ablation/0.6/run/checkpoint -o $(RUNS)/ablation/bundle --overwrite
	$(BIN)/moediff-export evaluate $(RUNS)/ablation/bundle -o $(RUNS)/ablation/report --quick --overwrite \
		$(foreach s,$(filter-out 0.6,$(PAINTED)),--comparator "painted $(s)=$(RUNS)/ablation/$(s)/run/checkpoint")

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
