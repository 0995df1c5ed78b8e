# make demo | test | check | study STUDY=name | lab | publish STUDY=name | bench | audit | clean
# Each target sets up .venv when it is missing or when requirements.txt is newer.
# One thread a job and as many jobs as cores: set CORES and THREADS to share a machine differently.
STUDY   ?= demo
CORES   ?= all
THREADS ?= 1
PYTHON  ?= python3
BIN     := .venv/bin
export TOKENIZERS_PARALLELISM := false
export OMP_NUM_THREADS ?= $(THREADS)

.PHONY: demo study test check lab publish bench audit clean
demo: STUDY := demo
demo study: .venv/ready
	$(BIN)/snakemake --cores $(CORES) --config study=$(STUDY) threads=$(THREADS)

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

publish: .venv/ready
	$(BIN)/python -m lib.study publish $(STUDY)
	$(BIN)/python -m lib.report make $(STUDY)

bench: .venv/ready
	$(BIN)/python -m benchmarks
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/paper/benchmark.ipynb

# Asks a public list of known vulnerabilities about every installed package; it needs the network.
audit: .venv/ready
	test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1; }
	$(BIN)/python -m pip freeze --exclude-editable | .venv/audit/bin/pip-audit --no-deps --disable-pip --progress-spinner off -r /dev/stdin

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

clean:
	rm -rf data/runs data/models .snakemake
