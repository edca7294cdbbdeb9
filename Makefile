# One command an intent. `demo` and `test` do their own set-up, so each works on a fresh clone.
PYTHON ?= python3.11
VENV := .venv
TRITON := build/triton
BIN := $(VENV)/bin

# Only its files are wanted: the tritonserver binary and the Python backend. None of its Python dependencies is.
PYTRITON := nvidia-pytriton==0.7.0

.PHONY: setup demo test bench lint ci clean

setup: $(VENV)/.installed $(TRITON)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# A tritonserver already on PATH (the container) is used as it is, and this environment then stays empty.
$(TRITON)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TRITON)
	command -v tritonserver >/dev/null || $(TRITON)/bin/pip install --quiet --no-deps $(PYTRITON)
	command -v tritonserver >/dev/null || $(TRITON)/bin/pip install --quiet --editable '.[server]'
	touch $@
