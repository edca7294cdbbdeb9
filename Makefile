# One command an intent. `demo` and `test` do their own set-up, so each works on a fresh clone.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
TRITON := build/triton
BIN := $(VENV)/bin

# ONNX Runtime with OpenVINO is a package of the same name as the one without it, so it has a folder of its own.
OPENVINO := build/openvino
ONNXRUNTIME_OPENVINO := onnxruntime-openvino==1.24.1

# Only its files are wanted: the tritonserver binary and the Python backend. None of its Python dependencies is.
PYTRITON := nvidia-pytriton==0.7.0

.PHONY: help setup openvino demo study synthetic test bench campaign gpu-check lint site browser ci clean

help: ## what each of these does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

setup: $(VENV)/.installed $(TRITON)/.installed ## install everything but OpenVINO: several GB

$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV): PyTorch alone is several GB, so this takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# A tritonserver already on PATH (the container) is used as it is, and this environment then stays empty.
# PyTriton goes in last, and into an environment that is new: pip would list what PyTriton lacks beside every other
# package that it installs later.
$(TRITON)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(TRITON)
	command -v tritonserver >/dev/null || $(TRITON)/bin/pip install --quiet --editable '.[server]'
	command -v tritonserver >/dev/null || $(TRITON)/bin/pip install --quiet --no-deps $(PYTRITON)
	touch $@

openvino: $(OPENVINO)/.installed ## ONNX Runtime with OpenVINO, for `python -m server --config-name openvino`: a quarter of a GB

$(OPENVINO)/.installed: $(TRITON)/.installed
	rm -rf $(OPENVINO) $(OPENVINO).new
	$(TRITON)/bin/pip install --quiet --no-deps --target $(OPENVINO).new $(ONNXRUNTIME_OPENVINO)
	touch $(OPENVINO).new/.installed
	mv $(OPENVINO).new $(OPENVINO)

# Data, training, export, serving and evaluation, with nothing mocked on the way: $(1) preset, $(2) data, $(3) evaluation.
define whole_path
	rm -rf build/$(1)
	$(BIN)/python -m synthetic --out build/$(1)/data $(2)
	$(BIN)/python -m train --preset $(1) --data build/$(1)/data --out build/$(1)/run
	$(BIN)/python -m export build/$(1)/run --repository build/$(1)/model_repository
	$(BIN)/python -m server --repository build/$(1)/model_repository --http-port 0 --grpc-port 0 --metrics-port 0 \
	  -- $(BIN)/client eval --url {grpc_url} --split query --data build/$(1)/data --report build/$(1)/report $(3)
endef

demo: setup ## drawn people, training, export, serving and evaluation: minutes, into build/demo
	$(call whole_path,demo,--images-per-identity 9 --test-identities 16 --cameras-per-identity 4 --distractors 8 \
	  --junk 8 --degraded 0.3)

# `-m bench.study --help` compares recipes.
study: setup ## a preset for questions of method, on drawn people of its own: half an hour
	$(BIN)/python -m synthetic --size study --out build/study/data
	$(BIN)/python -m bench.study run sum --data build/study/data --out build/study/runs --results build/study/results
	$(BIN)/python -m bench.study table --results build/study/results

synthetic: setup ## full-size networks, and the table of docs/results.md: about two hours on two cores
	$(call whole_path,synthetic,--train-identities 200 --images-per-identity 8 --test-identities 85 \
	  --cameras-per-identity 3.6 --distractors 100 --junk 50,--sweep-alpha)

test: setup ## all tests but those that need a GPU or are slow: half an hour
	$(BIN)/python -m pytest -m 'not gpu and not slow'

# `bench.layers` and `bench.soak` take a model repository.
bench: setup ## training, views, ranking and serving; the last needs NVIDIA's perf_analyzer
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.views
	$(BIN)/python -m bench.ranking
	$(BIN)/python -m bench.serving

# `--help` of it names the parts, and how to take fewer.
campaign: setup ## attacks on the demo's server: an hour and three quarters
	test -d build/demo/model_repository || $(MAKE) demo
	$(BIN)/python -m bench.campaign build/demo/model_repository

# Without a GPU it says what it would do.
gpu-check: setup ## TensorRT's plans and training in mixed precision, on a machine with a GPU
	$(BIN)/python -m bench.gpu_check

lint: $(VENV)/.installed ## ruff, and mypy over the client
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict client

site: $(VENV)/.installed ## the documents as a web site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Without it they are skipped.
browser: ## a Chromium for the tests that look at the report
	command -v chromium >/dev/null || { apt-get update --quiet=2 && apt-get install --yes --quiet=2 chromium; } \
	  || echo "Chromium could not be installed: the tests that look at the report will be skipped"

# The tests that serve with OpenVINO are skipped where it could not be installed.
ci: browser lint site ## lint and test, with Chromium and OpenVINO where they can be installed
	$(MAKE) openvino || echo "OpenVINO could not be installed: the tests that serve with it will be skipped"
	$(MAKE) test

clean: ## remove the environment and all that was built
	rm -rf build $(VENV)
