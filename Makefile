# Everything that is done here more than once. CI runs `make test`; `make` alone lists the targets.

PYTHON      ?= python3.11
VENV        ?= .venv
TORCH       ?= torch==2.13.0
# The index of wheels to take torch from, for example PyTorch's own for machines without a GPU; empty: pip's own.
TORCH_INDEX ?=
# Three for two processors: tests of whole meshes wait more than they work.
JOBS        ?= 3

BIN     := $(VENV)/bin
PY      := $(BIN)/python
STAMPS  := .cache/stamps
PYTEST  := $(PY) -m pytest -q -p no:cacheprovider
SOURCES := $(wildcard */src) clients/python/src tests bench protos/generate.py protos/contract.py protos/languages.py clients/sdks.py deploy
TIERS   := unit conformance service mesh deploy

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install lock protos protos-check breaking deploy-check deploy-apply charts images rehearsal rehearse-backup alerts \
	settings-page contract-image languages sdks sdks-test lint format types test-kills test-loading check test up demo \
	demo-release try-ai-horde bench crowd standbys redis-outages bench-capacity bench-worker bench-worker-memory bench-ledger \
	bench-scheduler simulate simulate-faults soak-storage rolling test-page bench-web-door soak-ledger abuse farms raters \
	cheats mutants-abuse mutants-ledger mutants-scheduler train-model evaluate-model messages clean $(TIERS:%=test-%)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

## ---- set up

$(STAMPS)/torch:
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --upgrade pip
	$(PY) -m pip install -q '$(TORCH)' $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(STAMPS)/install: $(STAMPS)/torch requirements.lock pyproject.toml
	$(PY) -m pip install -q --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install -q --no-deps -e .
	@touch $@

# The worker in Node is an example that a test runs, and so is the SDK in TypeScript: only where there is npm.
TYPESCRIPT := $(wildcard clients/typescript/*.json clients/typescript/src/*.ts clients/typescript/driver/*.ts)
$(STAMPS)/node: $(STAMPS)/install clients/examples/node-worker/package.json $(TYPESCRIPT) $(shell find protos/horde/api -name '*.proto')
	@mkdir -p $(STAMPS)
	@if command -v npm > /dev/null; then \
		(cd clients/examples/node-worker && npm install --silent --no-package-lock) && \
		(cd clients/typescript && npm install --silent --no-package-lock) && $(PY) clients/sdks.py typescript; \
	else echo "no npm: the worker in Node and the SDK in TypeScript are not tested"; fi
	@touch $@

install: $(STAMPS)/install ## Make .venv and install everything, from the lock

# Without torch, which has a build for each kind of machine, and without what only torch needs.
lock: install ## Compile requirements.lock anew from pyproject.toml
	@mkdir -p .cache && echo torch > .cache/not-locked
	$(BIN)/uv pip compile -q --generate-hashes --universal --python-version 3.11 --excludes .cache/not-locked \
		--no-emit-package horde-mesh --extra all --extra training --extra dev --no-header --no-annotate pyproject.toml -o requirements.lock
	@! grep -nE 'https?://|--(extra-)?index-url|--find-links' requirements.lock

## ---- the contracts

protos: install ## Generate protos/gen from the contracts
	$(PY) protos/generate.py

protos-check: install ## Fail if protos/gen is not what the contracts say
	$(PY) protos/generate.py --check

breaking: install ## Fail if a contract breaks its committed image, or is not in it
	$(PY) protos/contract.py --check

deploy-check: install ## Render the chart in every value set, lint it, validate everything, build the overlays, test the alerts
	$(PY) deploy/charts.py --check
	$(PYTEST) tests/deploy

deploy-apply: install ## The chart on a real API server, where kube-apiserver and etcd are: accepted, stored, upgraded, removed
	$(PY) deploy/applying.py

charts: install ## Write what Kustomize builds upon from the chart
	$(PY) deploy/charts.py

images: install ## Build the images with podman or docker, say how large they are, and write what is in each (SBOM)
	$(PY) deploy/images.py

rehearsal: install ## The images as pods of the rendered chart, played by podman: a picture is painted
	$(PY) deploy/rehearsal.py

rehearse-backup: install ## A backup on PostgreSQL under load, put back on empty databases; and a ledger of a million events
	$(PY) bench/backup.py

alerts: install ## Each alert fires in a fault that is done to a mesh, watched by a real Prometheus (apt-get install prometheus)
	$(PY) bench/alerts.py

settings-page: install ## Write deploy/settings.md, every setting of every service, from the code
	$(PY) deploy/settings.py

contract-image: install ## Write the image of the contracts anew; CHANGELOG.md must say what changed
	$(PY) protos/contract.py --renew

languages: install ## Generate and compile the public contract in every language whose tools are here
	$(PY) protos/languages.py

sdks: install $(STAMPS)/node ## Generate and build the SDKs of every language whose tools are here
	$(PY) clients/sdks.py

sdks-test: install $(STAMPS)/node ## The same, and hold each against the contract: tables of languages by cases
	$(PY) clients/sdks.py --test

## ---- check

lint: install ## Style, formats, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/buf lint protos
	$(BIN)/buf format protos -d --exit-code
	$(BIN)/lint-imports --config pyproject.toml

format: install ## Put sources and contracts into shape
	$(BIN)/ruff check --fix-only -q
	$(BIN)/ruff format -q
	$(BIN)/buf format protos -w

types: install ## Type-check, strictly; what people install on their own machines also as on theirs
	$(PY) -m mypy
	for platform in win32 darwin; do \
		$(PY) -m mypy --platform $$platform --follow-imports silent clients/python/src cli/src services/src worker-agent/src || exit 1; done

$(TIERS:%=test-%): test-%: install ## (test-unit, test-service, test-mesh …) Run one tier of tests
	@if [ -d tests/$* ]; then $(PYTEST) tests/$*; else echo "no tests/$*"; fi

test-kills: install ## kill -9 of every service at every place of a generation's life, 10 minutes
	HORDE_KILL_MATRIX=all $(PYTEST) tests/mesh/test_kills.py tests/mesh/test_soak_storage.py tests/mesh/test_curation.py

test-loading: install ## A release of 5,000 images in every loader, from a folder and over S3: counts and hashes
	HORDE_LOADED_IMAGES=5000 $(PYTEST) tests/service/data_releases/test_loading.py

check: lint types protos-check breaking ## Everything that is checked without running it

test: check $(STAMPS)/node ## Set up, check and test everything, as CI does (test-unit, test-service, …: one tier)
	$(PYTEST) -n $(JOBS) --dist loadfile tests

## ---- run

# GNU gettext's programs. A new language: msginit -i worker-agent/src/horde/worker_agent/locale/horde-worker.pot
LOCALE := worker-agent/src/horde/worker_agent/locale
messages: ## What the worker's owner reads: find the messages, and compile their translations
	xgettext -L Python -kmark --from-code=UTF-8 --no-wrap --no-location --omit-header --sort-output \
	  -o $(LOCALE)/horde-worker.pot $$(grep -rlE '(gettext|mark)[(]' worker-agent/src --include='*.py' | sort)
	for po in $(LOCALE)/*/LC_MESSAGES/*.po; do \
	  msgmerge -q --update --backup=none --no-wrap --no-fuzzy-matching $$po $(LOCALE)/horde-worker.pot && \
	  msgfmt --check-format --no-hash -o $${po%.po}.mo $$po; done

up: install ## The whole mesh on this machine, with one worker
	$(BIN)/horde up

demo: install ## Paint a few pictures through the whole mesh and show what became of them
	$(PY) -m horde.cli.demo

demo-release: install ## Paint a few hundred images, make two data releases, and take them home; several minutes
	$(PY) -u -m horde.cli.demo.release

# None of them is a part of this project, nor of its tests: they come from the registries each time.
try-ai-horde: install ## Clients and workers of AI Horde, unmodified, against the web door
	$(PYTHON) -m venv .cache/ai-horde
	.cache/ai-horde/bin/pip install -q horde-sdk aihorde
	if command -v npm > /dev/null; then npm install --silent --no-save --prefix .cache/ai-horde @zeldafan0225/ai_horde; fi
	$(PY) web-door/trials/run.py .cache/ai-horde/bin/python $(abspath .cache/ai-horde/node_modules)

bench: install ## Images a second through the whole mesh, and where the time goes
	$(PY) bench/mesh.py

standbys: install ## Leaders killed, stopped and cut off with 10,000 jobs queued: until dispatch is back
	$(PY) bench/replicas.py standbys

redis-outages: install ## Redis emptied, silent and killed under load: calls failed, jobs lost, latencies
	$(PY) bench/replicas.py redis

bench-capacity: install ## What an image and a worker cost each service, PostgreSQL, Redis and S3: what `horde capacity` reckons with
	$(PY) bench/capacity.py

crowd: install ## 10,000 idle workers: what they cost, how soon one gets a job, and how they come back
	$(PY) bench/crowd.py

bench-worker: install ## Images a second that a worker paints inside the mesh, beside a bare loop of diffusers
	$(PY) bench/worker.py

bench-worker-memory: install ## What a worker takes of memory and disk over 5,000 jobs with model switches, plotted
	$(PY) bench/worker_memory.py

bench-ledger: install ## Transfers a second through the ledger
	$(PY) bench/ledger.py

bench-scheduler: install ## Jobs matched a second by the scheduler's core, and that no slice holds the loop
	$(PY) bench/scheduler.py

simulate: install ## How long people wait, in virtual time, beside two other policies
	$(PY) bench/simulate.py

LIVES ?= 20000
simulate-faults: install ## The mesh's own code in virtual time while everything goes wrong: LIVES=20000 jobs
	$(PY) bench/simulate_faults.py --lives $(LIVES)

# Of how many images, and where they are kept: folders or s3.
IMAGES      ?= 100000
STORE       ?= folders
soak-storage: MINUTES ?= inf
soak-storage: install ## Images of all kinds while routers are killed and the store fails, IMAGES=100000 STORE=folders|s3 MINUTES=…
	$(PY) bench/soak_storage.py --jobs $(IMAGES) --store $(STORE) --minutes $(MINUTES) --calm 20

# Whose code half of the processes run at first: a commit, or nothing.
PREVIOUS    ?=
rolling: install ## Two of everything, restarted one after the other under load; PREVIOUS=COMMIT: half of them with its code
	$(PY) bench/rolling.py $(if $(PREVIOUS),--previous $(PREVIOUS))

# Neither is part of the project's tests: a browser, and what drives it.
test-page: install ## The page in a real Chromium (Debian's chromium), with axe-core; screenshots in .cache/page/shots
	@command -v chromium > /dev/null || { echo "needs chromium: apt-get install chromium"; exit 1; }
	$(BIN)/pip install -q --upgrade --target .cache/page playwright pyee axe-playwright-python
	@mkdir -p .cache/page/shots
	HORDE_SCREENSHOTS=$(abspath .cache/page/shots) PYTHONPATH=$(abspath .cache/page) $(PYTEST) tests/mesh/test_page.py

bench-web-door: install ## Calls a second through the web door, beside native ones, and what idle workers cost
	$(PY) bench/web_door.py

soak-ledger: install ## The ledger under load and faults, for long
	$(PY) bench/ledger_soak.py

abuse: install ## Attacks by strangers on a whole mesh with default settings, and what they leave of honest work
	$(PY) bench/abuse/whole_mesh.py

farms: install ## What ten farms earn in thirty days, beside a cheap GPU that paints
	$(PY) bench/farms.py

raters: install ## What farms of ratings earn in an hour, beside people who look
	$(PY) bench/raters.py

cheats: install ## How soon cheats are caught, whether the honest are left alone, and what looking costs
	$(PY) bench/cheats.py

mutants-abuse: install ## Put seeded defects into the rules against ill will: the tests must catch each
	$(PY) bench/abuse_mutants.py

mutants-ledger: install ## Put seeded defects into the ledger: the tests must catch each
	$(PY) bench/ledger_mutants.py

mutants-scheduler: install ## Put seeded defects into the scheduler: the tests must catch each
	$(PY) bench/scheduler_mutants.py

train-model: MINUTES ?= 10
train-model: install ## Train the small model on from its committed weights, for MINUTES=10
	cd worker-agent/training && $(abspath $(PY)) -m paintbox train --minutes $(MINUTES)

evaluate-model: install ## Score the small model, beside its controls
	cd worker-agent/training && $(abspath $(PY)) -m paintbox evaluate

clean: ## Remove what the targets above have made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
