# Everything a developer or an operator of a checkout types. `make` alone prints this list.
PYTHON ?= python3
V := .venv/bin
READY := .venv/.ready

help:             ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(V)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

run: $(READY)     ## the daemon with the bundled provider simulator and a few hundred messages (ONCE=1: and stop)
	$(V)/mta demo $(if $(ONCE),--once)

test: $(READY)    ## every test this machine can run; what it cannot is skipped with the reason
	$(V)/pytest -q

test-workers: $(READY)  ## the tests of whole daemons once more, with three workers each
	PETREL_TEST_WORKERS=3 $(V)/pytest -q tests/e2e tests/crash

check: fmt-check lint types imports tidy unit  ## everything a commit needs, fastest first

fmt-check: $(READY)  ## layout of the code
	$(V)/ruff format --check -q .

lint: $(READY)    ## ruff
	$(V)/ruff check -q .

types: $(READY)   ## mypy, strict
	$(V)/mypy

imports: $(READY) ## imports point inwards; the core does no I/O
	$(V)/lint-imports --no-cache >/tmp/petrel-imports.$$$$ || { cat /tmp/petrel-imports.$$$$; exit 1; }

tidy: $(READY)    ## house rules no linter can say
	$(V)/pytest -q tests/tidy

unit: $(READY)    ## the core, without sockets
	$(V)/pytest -q tests/unit tests/conformance tests/property

e2e: $(READY)     ## real sockets and processes
	$(V)/pytest -q tests/e2e

crash: $(READY)   ## kill -9 under load, and count
	$(V)/pytest -q tests/crash

torture: $(READY) ## the same for ROUNDS=100 kills; SEED=n repeats a plan; WORKERS=3
	$(V)/python -m tests.crash.torture $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS))

sim: $(READY)     ## one seeded story in virtual time, told line by line (SEED=7 DAYS=14)
	$(V)/python -m mta.sim.simulate --seed $(or $(SEED),1) --days $(or $(DAYS),1)

fuzz: $(READY)    ## any stream of octets at the listener, for TIME=1800 seconds
	end=$$(($$(date +%s) + $(or $(TIME),1800))); while [ $$(date +%s) -lt $$end ]; do \
	  PETREL_FUZZ_EXAMPLES=2000 $(V)/pytest -q tests/fuzz || exit 1; done

bench: $(READY)   ## every benchmark beside the other servers, and docs/benchmarks.md (QUICK=1: a fraction, kept apart)
	$(V)/python -m benchmarks.every $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

docs: $(READY)    ## regenerate docs/reference from the declarations
	$(V)/python -m mta.config.reference docs/reference config/annotated.conf
	$(V)/python -m mta.admin.reference docs/reference
	$(V)/python -m mta.accounting.reference docs/reference
	$(V)/python -m benchmarks.page >/dev/null

fmt: $(READY)     ## lay the code out
	$(V)/ruff format -q . && $(V)/ruff check -q --fix .

.PHONY: help run test test-workers check fmt-check lint types imports tidy unit e2e crash torture sim fuzz bench docs fmt
