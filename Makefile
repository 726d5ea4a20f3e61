# Two commands on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup torch demo test lint format docs bench clean

setup: $(READY)

$(READY): requirements/dev.lock pyproject.toml scripts/setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) bash scripts/setup.sh
	@touch $(READY)

torch: $(READY)
	VENV=$(VENV) bash scripts/torch.sh

demo: $(READY)
	$(BIN)/loopwright demo --home $(or $(LOOPWRIGHT_HOME),$(VENV)/demo)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	BIN=$(BIN) bash scripts/test.sh

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m scripts.operations > docs/operations.md

bench: $(READY)
	for name in benchmarks/bench_*.py; do $(BIN)/python $$name; done

clean:
	rm -rf $(VENV) .cache
