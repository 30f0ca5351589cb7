# Two commands on a fresh machine with Python 3.11 or later: `make demo`, `make test`.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

.PHONY: demo test torch-check lint bench notebooks clean

demo: $(SETUP)
	$(BIN)/vim-jax demo

test: $(SETUP)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests vim_jax

# Installs PyTorch, and compares the models here with torchvision's.
torch-check: $(SETUP)
	$(BIN)/pip install --quiet --editable '.[torch-check]'
	$(BIN)/python -m pytest -s tests/torch_check.py

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(SETUP)
	for name in shuffle vfe mixer train publish; do \
	    $(BIN)/python -m benchmarks $$name --json benchmarks/results/$${name}_cpu.json || exit; \
	done
	$(BIN)/python -m benchmarks.render

notebooks: $(SETUP)
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks

$(SETUP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo_output
