# The two main commands are `make bench` and `make test`; both do all set-up. Variables: SUITE, RUN and ARGS.
SUITE ?= default
RUN ?= latest
ARGS ?=
TARE := .venv/bin/tare
.DEFAULT_GOAL := help

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

setup:
	@harness/setup/system.sh
	@harness/setup/venv.sh

bench: setup ## measure native, Docker and a guest on this host (SUITE=smoke|default|full)
	$(TARE) run --suite $(SUITE) $(ARGS)

krun: setup ## install libkrun, whose microVMs need KVM, into .venv
	.venv/bin/pip -q --disable-pip-version-check install --no-deps --require-hashes -r requirements-krun.lock

setup-tests: setup
	@harness/setup/system.sh tests/packages.txt

test: setup-tests lint ## run all tests, including those with Docker and libvirt
	.venv/bin/pytest --numprocesses=auto --dist=loadfile tests/unit tests/cli $(ARGS)
	.venv/bin/pytest tests/integration $(ARGS)

doctor: setup ## check whether this host is fit for measurements
	$(TARE) doctor

images: setup ## build the root and its forms
	$(TARE) image build

report: setup ## render the report of a run again (RUN=latest)
	$(TARE) report $(RUN)

perf: setup ## compare the speed of tare with docker run and plain QEMU
	.venv/bin/python -m tests.perf $(ARGS)

validate: setup ## validate the statistics on this host: simulations, live A/A, injected slowdowns
	.venv/bin/python -m tests.validation $(ARGS)

validate-quick: setup ## a small version of validate, in a few minutes
	.venv/bin/python -m tests.validation --quick $(ARGS)

lab: setup-tests ## test with KVM on any machine: doctor and a small suite in an emulated guest with virtualization
	.venv/bin/python -m tests.lab $(ARGS)

lab-xen: setup-tests ## test with Xen guests on any machine: the same in an emulated guest with Xen
	.venv/bin/python -m tests.lab --xen $(ARGS)

lab-shell: setup-tests ## run commands from stdin in the KVM lab, one per line
	@.venv/bin/python -m tests.lab --shell

compare: setup ## compare runs (A=… B=…)
	$(TARE) compare $(A) $(B) $(ARGS)

claims: setup ## check the claims of a document against all runs of this host
	$(TARE) claims $(ARGS)

lint: setup ## ruff, mypy, import-linter
	.venv/bin/ruff check harness tests
	.venv/bin/ruff format --check harness tests
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: setup ## resolve the dependencies again
	.venv/bin/uv pip compile --universal --generate-hashes --group dev --python-version 3.11 -q -o requirements.lock pyproject.toml

clean: setup ## remove the leftovers of interrupted runs from this host (by label)
	$(TARE) clean

.PHONY: help setup krun setup-tests bench test doctor images report compare claims perf validate validate-quick lab lab-xen lab-shell lint lock clean
