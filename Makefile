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

.PHONY: setup openvino demo study synthetic test bench campaign gpu-check lint browser ci clean

setup: $(VENV)/.installed $(TRITON)/.installed

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

# A quarter of a gigabyte, for `python -m server --config-name openvino`.
openvino: $(OPENVINO)/.installed

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

# Minutes.
demo: setup
	$(call whole_path,demo,--images-per-identity 9 --test-identities 16 --cameras-per-identity 4 --distractors 8 \
	  --junk 8 --degraded 0.3)

# Half an hour: a preset for questions of method on its own drawn people. `-m bench.study --help` compares recipes.
study: setup
	$(BIN)/python -m synthetic --size study --out build/study/data
	$(BIN)/python -m bench.study run sum --data build/study/data --out build/study/runs --results build/study/results
	$(BIN)/python -m bench.study table --results build/study/results

# Full size networks and the table of docs/results.md: about two hours on two cores.
synthetic: setup
	$(call whole_path,synthetic,--train-identities 200 --images-per-identity 8 --test-identities 85 \
	  --cameras-per-identity 3.6 --distractors 100 --junk 50,--sweep-alpha)

test: setup
	$(BIN)/python -m pytest -m 'not gpu and not slow'

# The last one needs NVIDIA's perf_analyzer. `bench.layers` and `bench.soak` take a model repository.
bench: setup
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.views
	$(BIN)/python -m bench.ranking
	$(BIN)/python -m bench.serving

# An hour and a half of attacks on the demo's server; `--help` of it names the parts, and how to take fewer.
campaign: setup
	test -d build/demo/model_repository || $(MAKE) demo
	$(BIN)/python -m bench.campaign build/demo/model_repository

# TensorRT's plans and training in mixed precision, on a machine with a GPU; on any other it says what it would do.
gpu-check: setup
	$(BIN)/python -m bench.gpu_check

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict client

# The report's tests open it in a browser; they are skipped where there is none.
browser:
	command -v chromium >/dev/null || { apt-get update --quiet=2 && apt-get install --yes --quiet=2 chromium; } \
	  || echo "Chromium could not be installed: the tests that look at the report will be skipped"

# The tests that serve with OpenVINO are skipped where it could not be installed.
ci: browser lint
	$(MAKE) openvino || echo "OpenVINO could not be installed: the tests that serve with it will be skipped"
	$(MAKE) test

clean:
	rm -rf build $(VENV)
