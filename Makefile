# Everything a person types. Each target does its own set-up: virtual environment, jars, servers.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
MVN    := mvn --batch-mode --quiet --no-transfer-progress --file
STACK  ?= .stack
MINUTES ?= 30
PORT ?= 3000
DASHBOARD_PORT ?= 8050

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast soak bench boards connect images ui dashboard down lint format clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## send real and made-up clicks through the whole platform, and show the busiest pages
	@$(BIN)/dataco demo --dir $(STACK)

test: $(VENV)/.installed ## run the whole test suite, on real servers that it starts and stops
	@$(BIN)/dataco setup --this-machine
	$(BIN)/pytest -n 3 --durations 50 --durations-min 10

test-fast: $(VENV)/.installed ## run the tests that need no server
	$(BIN)/pytest dataco_assets_tests/unit

bench: $(VENV)/.installed connect ## measure all performance figures beside their peers; updates docs/performance.md
	@$(BIN)/python -m benchmarks

soak: $(VENV)/.installed ## break servers at random for MINUTES=30, then the tests that are too long for `make test`
	SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -s dataco_assets_tests/faults/test_soak.py
	SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -s -m soak

connect: ## build the sink for Kafka Connect: kafka_connect/target/dataco-clicks.zip, for plugin.path
	$(MVN) kafka_connect/pom.xml package -Pplugin -DskipTests
	@mv kafka_connect/target/plugins.zip kafka_connect/target/dataco-clicks.zip
	@echo "kafka_connect/target/dataco-clicks.zip; unpacked in kafka_connect/target/plugins"

boards: $(VENV)/.installed ## write the boards of Grafana and the saved objects of Kibana in docker/
	$(BIN)/python docker/grafana/make_boards.py
	$(BIN)/python docker/kibana/make_saved_objects.py

images: ## build the images, run the compose file with them, by Kafka Connect too, and kill each container once; needs Docker
	@$(PYTHON) docker/try_images.py

ui: $(VENV)/.installed ## run the Dagster UI on the demo's servers, with sensors, at PORT=3000; Ctrl-C stops it
	@exec $(BIN)/dataco stack ui --dir $(STACK) --port $(PORT)

dashboard: $(VENV)/.installed ## show the traffic of the demo's servers on a page, at DASHBOARD_PORT=8050; Ctrl-C stops it
	@servers="$$($(BIN)/dataco stack env --dir $(STACK))" && eval "$$servers" && exec $(BIN)/dataco dashboard --port $(DASHBOARD_PORT)

down: $(VENV)/.installed ## stop the servers, keep their data (.stack/)
	@$(BIN)/dataco stack down --dir $(STACK)

lint: $(VENV)/.installed ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(MVN) kafka_connect/pom.xml validate
	$(MVN) spark_resources/java/pom.xml validate

format: $(VENV)/.installed ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(MVN) kafka_connect/pom.xml spotless:apply
	$(MVN) spark_resources/java/pom.xml spotless:apply

$(VENV)/.installed: pyproject.toml local_stack/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and no python3 was found (Debian: apt-get install python3.11 python3.11-venv)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed, but $(PYTHON) is another version; set PYTHON=/path/to/python3.11."; exit 1; }
	@echo "Installing Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing (Debian: apt-get install python3.11-venv)."; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[access-log,bench,dashboard,dev,postgres]' -e ./local_stack
	@touch $@
