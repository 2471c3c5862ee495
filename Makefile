# DEFT-LLM as a paper you can run: this file is the table of contents. `make help` prints it.
#   make reproduce                 every table and figure, from simulated clips, on this machine
#   make reproduce PROFILE=smoke   the same chain in minutes, with a handful of clips

SHELL := /bin/bash
.DEFAULT_GOAL := help
PROFILE ?= demo
PYTHON ?= python3

# What a user gives is data: `value` takes it unexpanded, recipes read it from the environment ("$$CLIP"), so that a file called
# a"b, a`b`, a$b or $(...) is only a name. A variable that nothing reads is refused: apex=5 would be ignored in silence.
GIVEN := PROFILE PYTHON CLIP ONSET APEX OFFSET FPS LANDMARKS OUT DATASET DATA FOLDS PROTOCOL ERRATA STRICT OWN YES RUNS ONLY
KNOWN := $(GIVEN) DEFT_%
$(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(if $(filter-out $(KNOWN),$(name)),$(error \
  unknown variable $(name); known: $(GIVEN). Capital letters count. A variable of the environment goes before make: $(name)=... make))))
$(foreach name,$(filter $(KNOWN),$(.VARIABLES)),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))$(eval export $(name))))

# An active virtual or conda environment that already has the locked packages is used as it is; otherwise .venv is made here.
ACTIVE := $${VIRTUAL_ENV:-$$CONDA_PREFIX}/bin/python
USABLE := $(if $(value VIRTUAL_ENV)$(value CONDA_PREFIX),$(shell "$(ACTIVE)" -m deft.run.environment --quiet >/dev/null 2>&1 && echo yes))
PY := $(if $(USABLE),$(ACTIVE),.venv/bin/python)
ENV := $(if $(USABLE),,.venv/.deft-stamp)
# A stamp without a working interpreter (the system's Python was replaced) is worth nothing.
$(if $(shell .venv/bin/python -c '' 2>/dev/null && echo yes),,$(shell rm -f .venv/.deft-stamp))

.PHONY: env check reproduce see verify reference status test lab analyse data-check licensed forget bench clean help

env: $(ENV)                   ## make .venv from the lock (constraints.txt), or accept the active environment
	@echo "environment: $(PY)"

reproduce: $(ENV)             ## run every notebook that needs it: all tables and figures of PROFILE
	@"$(PY)" -m deft run --profile="$$PROFILE"

check: $(ENV)                 ## a minute, nothing trained: tables and verdicts again from the committed answers
	@"$(PY)" -m deft check --profile="$$PROFILE"

see: $(ENV)                   ## every sentence that the notebooks check, with its outcome and its numbers
	@"$(PY)" -m deft see --profile="$$PROFILE"

verify: $(ENV)                ## your run against the reference: verdicts, numbers in their intervals, integrity
	@"$(PY)" -m deft verify --profile="$$PROFILE"

reference: $(ENV)             ## hours: five complete runs with other draws and limits, and the spread that verify uses
	@"$(PY)" -m deft reference --profile="$$PROFILE" $${RUNS:+"--runs=$$RUNS"}

status: $(ENV)                ## what is stale, and why; of a licensed data set: make status DATASET=casme2
	@"$(PY)" -m deft status --profile="$$PROFILE" $${DATASET:+"--dataset=$$DATASET"}

test: $(ENV)                  ## every test, with one smoke run of all notebooks
	@"$(PY)" -m pytest tests -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lab: $(ENV)                   ## read the notebooks in JupyterLab, on this machine only, with its token; executed copies and figures lie beside them
	@test -z "$$DEFT_WORK$$DEFT_FIGURES" || echo "note: what lies at $$DEFT_WORK $$DEFT_FIGURES is read by the notebooks; JupyterLab itself shows only what is below $$PWD"
	@"$(PY)" -m jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir="$$PWD" --ContentsManager.allow_hidden=True --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

analyse: $(ENV)               ## look at a clip of yours: make analyse CLIP=path [ONSET= APEX= OFFSET=] [FPS=] [LANDMARKS=file.csv|facemesh] [OUT=folder]
	@test -n "$$CLIP" || { echo "make analyse CLIP=path/to/video/or/folder [ONSET=n APEX=n OFFSET=n] [FPS=frames per second] [LANDMARKS=OpenFace.csv] [OUT=folder]"; exit 2; }
	@"$(PY)" -m deft analyse --profile="$$PROFILE" $${ONSET:+"--onset=$$ONSET"} $${APEX:+"--apex=$$APEX"} $${OFFSET:+"--offset=$$OFFSET"} \
	  $${FPS:+"--fps=$$FPS"} $${LANDMARKS:+"--landmarks=$$LANDMARKS"} $${OUT:+"--out=$$OUT"} -- "$$CLIP"

data-check: $(ENV)            ## what your copy of a data set holds: make data-check DATASET=casme2 [DATA=folder] [STRICT=1] [ERRATA=1]
	@test -n "$$DATASET" || { echo "make data-check DATASET=casme2 [DATA=folder] [STRICT=1] [ERRATA=1]; without DATA it is \$$DEFT_DATA/casme2"; exit 2; }
	@"$(PY)" -m deft data-check $${DATA:+"--root=$$DATA"} $${STRICT:+--strict} $${ERRATA:+--errata} -- "$$DATASET"

licensed: $(ENV)              ## the chain on your data: make licensed PROTOCOL=megc2019 | DATASET=casme2 [DATA=folder] [FOLDS=loso] [LANDMARKS=folder|facemesh] [ERRATA=1]
	@test -n "$$DATASET$$PROTOCOL" || { echo "make licensed DATASET=casme2 [FOLDS=loso], or PROTOCOL=megc2019|casme2-5|samm-5|smic-3|cube-3|cube-4|cube-7|cube-c-4|dfme-7|objective-5|'cross:a+b>c'|units [DATASET=casme2+samm]; [DATA=folder] [LANDMARKS=folder] [ERRATA=1] [PROFILE=demo]; without DATA it is \$$DEFT_DATA/casme2"; exit 2; }
	@"$(PY)" -m deft licensed --profile="$$PROFILE" $${DATA:+"--root=$$DATA"} $${FOLDS:+"--folds=$$FOLDS"} $${PROTOCOL:+"--protocol=$$PROTOCOL"} \
	  $${LANDMARKS:+"--landmarks=$$LANDMARKS"} $${ERRATA:+--errata} -- $${DATASET:+"$$DATASET"}

forget: $(ENV)                ## list what holds faces of a data set; YES=1 removes it: make forget DATASET=casme2 [OWN=1] [YES=1]
	@test -n "$$DATASET" || { echo "make forget DATASET=casme2 [OWN=1] [YES=1]"; exit 2; }
	@"$(PY)" -m deft forget $${OWN:+--own} $${YES:+--yes} -- "$$DATASET"

bench: $(ENV)                 ## time what is claimed to be fast; writes figures/PROFILE/bench.csv: make bench [ONLY="b1 b4"]
	@"$(PY)" -m tests.bench --profile="$$PROFILE" $${ONLY:+"--only=$$ONLY"}

clean:                        ## remove the intermediate data and products of PROFILE (the reference stays)
	@"$$PYTHON" -m deft.run.clean "$$PROFILE"

help:                         ## this table of contents
	@echo "make TARGET [PROFILE=demo|full|gpu|paper|sim2|smoke]      (default: demo)"; echo
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */|/' | while IFS='|' read -r name words; do printf '  %-10s %s\n' "$$name" "$$words"; done

# Python compiles a module when it is first imported; to compile all that the packages hold would be half of the installation. Where it
# may not keep what it compiled (containers like to say so), every process would compile torch and transformers again: ten seconds each.
unexport PYTHONDONTWRITEBYTECODE
.venv/.deft-stamp: constraints.txt pyproject.toml
	@command -v "$$PYTHON" >/dev/null || { echo "error: $$PYTHON not found; install Python 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $$("$$PYTHON" --version) is too old; install Python 3.11 or newer, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@"$$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || { echo "error: this Python has no venv/ensurepip; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@.venv/bin/python -c "" 2>/dev/null || { echo "making .venv"; "$$PYTHON" -m venv --clear .venv; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null || { echo "error: .venv has no pip; remove .venv and run make env again"; exit 1; }
	@.venv/bin/python -m deft.run.environment --quiet || { echo "installing the locked packages into .venv (minutes, once)"; .venv/bin/python -m pip install --quiet --no-compile -r constraints.txt \
	  || { echo "error: pip could not install the lock; check the network (or PIP_INDEX_URL) and run make env again"; exit 1; }; }
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
