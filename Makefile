# make run   sets up and runs the whole default experiment on a CPU
# make test  sets up and runs every check
# Both make .venv by themselves when it is missing or older than pyproject.toml and constraints.txt; pip's own environment variables
# (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) say where packages come from.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test lint types tests retrain clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: $(BIN)/.run  ## the whole default experiment, the report, MLflow
	@seesaw run

# Promoted (0), kept (10) and nothing to compare (20) are all a success; the line gate=... says which it was.
retrain: $(BIN)/.run  ## the scheduled job: restore, run, push, MLflow, gate, propose
	@seesaw retrain; code=$$?; case $$code in 0|10|20) exit 0;; *) exit $$code;; esac

test: lint types tests  ## every check: lint, format, types, tests

lint: $(BIN)/.test
	@ruff check . && ruff format --check .

types: $(BIN)/.test
	@mypy

tests: $(BIN)/.test
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m pytest --numprocesses auto --dist loadscope

clean:  ## remove the environment and the work in progress (never results, never MLflow's runs)
	rm -rf $(VENV) .seesaw/scratch .seesaw/side .seesaw/tune .seesaw/logs .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@echo "making $(VENV): about two minutes"
	@$(PYTHON) -m venv $(VENV)

$(BIN)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable .
	@touch $@

$(BIN)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[test]'
	@touch $@ $(BIN)/.run
