# edgecut's targets. `make` alone lists them.
# Another interpreter: make install PYTHON=python3.12

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCHMARKS := $(sort $(basename $(notdir $(shell grep -l __main__ benchmarks/*.py))))

.DEFAULT_GOAL := help
.PHONY: help install demo demo-mcu test lint bench firmware clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 10

install: $(STAMP)  ## make .venv and install edgecut into it

# Again when pyproject.toml has changed; the stamp is touched only when everything went well.
$(STAMP): pyproject.toml tools/install.sh
	@PYTHON="$(PYTHON)" sh tools/install.sh $(VENV)
	@touch $@

demo: $(STAMP)  ## split EfficientNet-B0 over two emulated boards, run it there, measure it
	@$(BIN)/hil demo -o demo-output

demo-mcu: $(STAMP)  ## split networks over three emulated Cortex-M4 boards, flash, run and measure them
	@$(BIN)/hil demo-mcu -o demo-mcu-output

test: $(STAMP)  ## run the whole test suite
	@$(BIN)/python -m tests

lint: $(STAMP)  ## style, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## run the benchmarks, which print their figures as ratios
	@set -e; for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python -m benchmarks.$$benchmark; done

firmware:  ## build the firmware of every microcontroller board into build/firmware, print the sizes
	@$(MAKE) --no-print-directory -C firmware_interface/firmware BUILD="$(CURDIR)/build/firmware" all

clean:  ## remove .venv, caches and what the demo wrote
	rm -rf $(VENV) demo-output demo-mcu-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
