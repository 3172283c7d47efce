# The two commands are `make bench` and `make test`; both do all set-up. SUITE, RUN and ARGS are yours to set.
SUITE ?= default
RUN ?= latest
ARGS ?=
TARE := .venv/bin/tare
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

setup:
	@harness/setup/system.sh
	@harness/setup/venv.sh

bench: setup ## weigh native, Docker and a guest on this host (SUITE=smoke|default|full)
	$(TARE) run --suite $(SUITE) $(ARGS)

krun: setup ## install libkrun, whose microVMs need real KVM, into .venv
	.venv/bin/pip -q --disable-pip-version-check install --no-deps --require-hashes -r requirements-krun.lock

setup-tests: setup
	@harness/setup/system.sh tests/packages.txt

test: setup-tests lint ## all tests, real Docker and libvirt included
	.venv/bin/pytest --numprocesses=auto --dist=loadfile tests/unit tests/cli $(ARGS)
	.venv/bin/pytest tests/integration $(ARGS)

doctor: setup ## what this host is, and whether it is fit to measure
	$(TARE) doctor

images: setup ## build the root and its forms
	$(TARE) image build

report: setup ## render the report of a run again (RUN=…)
	$(TARE) report $(RUN)

perf: setup ## the harness's own speed beside docker run and plain QEMU
	.venv/bin/python -m tests.perf $(ARGS)

validate: setup ## whether tare keeps its statistical promises here: simulations, live A/A, injected slowdowns
	.venv/bin/python -m tests.validation $(ARGS)

validate-quick: setup ## the same, small, in a few minutes
	.venv/bin/python -m tests.validation --quick $(ARGS)

lab: setup-tests ## real KVM without hardware: doctor and a small suite in an emulated guest that offers virtualization
	.venv/bin/python -m tests.lab $(ARGS)

lab-xen: setup-tests ## guests of Xen without hardware: the same in an emulated guest that Xen runs
	.venv/bin/python -m tests.lab --xen $(ARGS)

lab-shell: setup-tests ## run commands in that guest, one a line
	@.venv/bin/python -m tests.lab --shell

compare: setup ## compare runs (A=… B=…)
	$(TARE) compare $(A) $(B) $(ARGS)

claims: setup ## which of the document's sentences hold on this host, by all runs so far
	$(TARE) claims $(ARGS)

lint: setup ## ruff, mypy, import-linter
	.venv/bin/ruff check harness tests
	.venv/bin/ruff format --check harness tests
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: setup ## resolve the dependencies again
	.venv/bin/uv pip compile --universal --generate-hashes --group dev --python-version 3.11 -q -o requirements.lock pyproject.toml

clean: setup ## remove what interrupted runs left on this host (by label)
	$(TARE) clean

.PHONY: help setup krun setup-tests bench test doctor images report compare claims perf validate validate-quick lab lab-xen lab-shell lint lock clean
