# Everything is set up in .venv from requirements/ alone; a second call reuses it unless a lock changed.
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint lock wheel clean

help:
	@echo "make demo   compare five methods on the embedded playground (sets itself up, no GPU, no compiler)"
	@echo "make test   run the test suite with the real engines (sets itself up)"
	@echo "make soak   the long kill and matrix runs"
	@echo "make lint   formatter, linter, types, import rules"
	@echo "make lock   resolve requirements/*.txt anew (needs uv)"
	@echo "make wheel  build the distribution into dist/"
	@echo
	@echo "TORCH_INDEX=URL chooses torch's build, e.g. https://download.pytorch.org/whl/cpu"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch comes first and with its dependencies, so that its build can be chosen; the rest comes from a lock, as it is.
$(VENV)/.torch: requirements/torch.txt | $(BIN)/python
	$(PIP) --requirement requirements/torch.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.demo: requirements/demo.txt $(VENV)/.torch pyproject.toml
	$(PIP) --no-deps --requirement requirements/demo.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# deepspeed comes as source and asks for the torch that is there while it is built.
$(VENV)/.test: requirements/test.txt $(VENV)/.torch pyproject.toml
	$(PIP) --no-deps --no-build-isolation --requirement requirements/test.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/harness run --plugins base --plugins im,dmt --factorial

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not soak"

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock:
	requirements/lock.sh

wheel: $(VENV)/.test
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) build dist *.egg-info
