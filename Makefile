# Two commands: `make serve` and `make test`. Both set the machine up first, once.
PYTHON ?= python3
BIN := .venv/bin
SET_UP = $(PYTHON) -m deploy.install

.PHONY: serve test test-fast lint install clean

serve:  ## set everything up, then serve the bundled model on 127.0.0.1:8080
	@$(SET_UP) service engine --then "starting vLLM and the service"
	@exec $(BIN)/aliquot serve $(ARGS)

test:  ## set everything up, then run every test: the fast ones first
	@$(SET_UP) service engine tests --then "running every test"
	@exec $(BIN)/python -m pytest $(ARGS)

test-fast:  ## the tests that start no vLLM and no cluster
	@$(SET_UP) service tests
	@exec $(BIN)/python -m pytest -m "not integration and not cluster" $(ARGS)

lint: install  ## ruff, mypy and the layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install:  ## the service and its tools, without an engine
	@$(SET_UP) service

clean:  ## remove all that the other targets made
	rm -rf .venv .venv-* models .logs .data .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
