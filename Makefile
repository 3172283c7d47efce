# The two main commands are `make bench` and `make test`; both do all set-up. Variables to set: SUITE, RUN, ARGS, A, B.
SUITE ?= default
RUN ?= latest
ARGS ?=
TARE := .venv/bin/tare
.DEFAULT_GOAL := help

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

setup: ## install missing system packages and make .venv
	@harness/setup/system.sh
	@harness/setup/venv.sh

bench: setup ## measure native, Docker and a guest on this host, and print a report (SUITE=smoke|default|full|…)
	$(TARE) run --suite $(SUITE) $(ARGS)

krun: setup ## install libkrun into .venv; its microVMs need KVM
	.venv/bin/pip -q --disable-pip-version-check install --no-deps --require-hashes -r requirements-krun.lock

setup-tests: setup
	@harness/setup/system.sh tests/packages.txt

test: setup-tests lint ## run lint and all tests, on a real Docker and libvirt
	.venv/bin/pytest --numprocesses=auto --dist=loadfile tests/unit tests/cli $(ARGS)
	.venv/bin/pytest tests/integration $(ARGS)

doctor: setup ## check whether this host is fit to measure, and print fixes
	$(TARE) doctor

images: setup ## build the root and the form of it that each runtime uses
	$(TARE) image build

report: setup ## render the report of a run again (RUN=latest)
	$(TARE) report $(RUN)

perf: setup ## print the harness's own speed beside docker run and plain QEMU
	.venv/bin/python -m tests.perf $(ARGS)

validate: setup ## check the statistics on this host: simulations, live A/A, injected slowdowns; about an hour
	.venv/bin/python -m tests.validation $(ARGS)

validate-quick: setup ## the same in a small version, in a few minutes
	.venv/bin/python -m tests.validation --quick $(ARGS)

lab: setup-tests ## run doctor and a small suite with KVM guests, in an emulated guest with hardware virtualization
	.venv/bin/python -m tests.lab $(ARGS)

lab-xen: setup-tests ## the same with guests of Xen
	.venv/bin/python -m tests.lab --xen $(ARGS)

lab-shell: setup-tests ## run commands in that emulated guest, one per line
	@.venv/bin/python -m tests.lab --shell

compare: setup ## compare runs (A=… B=…)
	$(TARE) compare $(A) $(B) $(ARGS)

claims: setup ## judge the source document's claims by this host's runs
	$(TARE) claims $(ARGS)

lint: setup ## run ruff, mypy and import-linter
	.venv/bin/ruff check harness tests
	.venv/bin/ruff format --check harness tests
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: setup ## resolve the dependencies again into requirements.lock
	.venv/bin/uv pip compile --universal --generate-hashes --group dev --python-version 3.11 -q -o requirements.lock pyproject.toml

clean: setup ## remove leftovers of interrupted runs, by label
	$(TARE) clean

.PHONY: help setup krun setup-tests bench test doctor images report compare claims perf validate validate-quick lab lab-xen lab-shell lint lock clean
