# make demo | demo-llm | test | lint | types | unit | integration | benchmarks | lock | clean
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo demo-llm test lint types unit integration benchmarks lock clean

# Where it is set, each of the many processes that are started here would compile the code anew.
unexport PYTHONDONTWRITEBYTECODE

RUN := .venv/bin
RUNTIME := .venv/.runtime-installed
LANGUAGE := .venv/.language-installed
DEVELOPMENT := .venv/.development-installed

help:
	@echo "make demo         flights → features → training → registry → ten answers over HTTP, then stop"
	@echo "make demo-llm     a small language model, served and talked to by OpenAI's client; then stop"
	@echo "make test         lint, types, unit and integration tests: what CI runs"
	@echo "make benchmarks   the ingress beside bare FastAPI + ONNX Runtime (needs wrk)"
	@echo "make lock         resolve the dependencies anew"
	@echo "make clean        remove what the commands made (.venv stays)"

demo: $(RUNTIME)
	@$(RUN)/python -m demo

demo-llm: $(LANGUAGE)
	@$(RUN)/python -m demo chat

test: lint types unit integration

lint: $(DEVELOPMENT)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

types: $(DEVELOPMENT)
	$(RUN)/mypy

unit: $(DEVELOPMENT)
	$(RUN)/pytest tests/unit --numprocesses=2 --dist=loadfile

integration: $(DEVELOPMENT)
	$(RUN)/pytest tests/integration --numprocesses=2 --dist=loadscope --no-loadscope-reorder

benchmarks: $(DEVELOPMENT)
	$(RUN)/python -m benchmarks ingress

$(RUNTIME): requirements.lock pyproject.toml scripts/install.sh
	@scripts/install.sh requirements.lock
	@touch $@

$(LANGUAGE): requirements-llm.lock pyproject.toml scripts/install.sh
	@scripts/install.sh requirements-llm.lock
	@touch $@ $(RUNTIME)

$(DEVELOPMENT): requirements-dev.lock pyproject.toml scripts/install.sh
	@scripts/install.sh requirements-dev.lock
	@touch $@ $(RUNTIME) $(LANGUAGE)

# A resolver that finds the CPU build of torch writes "+cpu": the lock names the release alone. The release that is
# locked would be taken before that build, and with it CUDA's packages: its line goes first.
lock: $(DEVELOPMENT)
	export UV_FIND_LINKS=$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}; \
	compile="$(RUN)/uv pip compile --quiet pyproject.toml --python-version 3.11 --no-annotate --no-header"; \
	sed -i '/^torch==/d' requirements*.lock && \
	$$compile --extra demo --output-file requirements.lock && \
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock && before=requirements.lock && \
	for each in llm dev; do \
	    $$compile --extra demo --extra $$each --constraint $$before --output-file requirements-$$each.lock && \
	    sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements-$$each.lock && before=requirements-$$each.lock || exit 1; \
	done && \
	infra/images/lock.sh

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
