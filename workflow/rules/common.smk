"""The study behind the DAG: its configuration, its paths, and the few functions that several rules call."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from snakemake.exceptions import WorkflowError

from sftlens import fingerprints
from sftlens.errors import SftlensError
from sftlens.grid import cells as grid_cells, loading, paths as grid_paths, targets as grid_targets

SCRIPTS = Path(workflow.basedir) / "scripts"
SOURCES = ", ".join(map(str, workflow.configfiles)) or "--config"

try:
    STUDY = loading.load(config, SOURCES)
    RECORDED = grid_paths.read_snapshot(Path(grid_paths.Paths(STUDY).root))
except SftlensError as error:
    raise WorkflowError(str(error))

PATHS = grid_paths.Paths(STUDY)
PRODUCTS = grid_cells.distinct(STUDY)
SUMMARIES = [PATHS.summary(product) for product in PRODUCTS]
TARGETS = grid_targets.wanted(STUDY)

CONFLICT = grid_paths.conflict(STUDY, RECORDED) if RECORDED else None
if CONFLICT:
    raise WorkflowError(
        f"{PATHS.root} was made by another configuration: {CONFLICT} (in {SOURCES}); "
        f"give this study another name (`study:`), or move {PATHS.root} away"
    )

CONDA = "conda" in str(workflow.deployment_settings.deployment_method).lower()
# The interpreter that runs Snakemake also runs the jobs, unless they have environments of their own.
PYTHON = "python" if CONDA else sys.executable
CELL = f"{PATHS.root}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}"
LOGS = f"{PATHS.root}/logs"

FOUND = [product.cell for product in PRODUCTS]


def alternatives(values):
    """A wildcard constraint that admits exactly the values of this configuration."""
    return "|".join(re.escape(str(value)) for value in dict.fromkeys(values) if str(value)) or "(?!)"


wildcard_constraints:
    model=alternatives(STUDY.models),
    train_set=alternatives(cell.train_set for cell in FOUND),
    scale=alternatives(cell.scale for cell in FOUND),
    seed=alternatives(cell.seed for cell in FOUND),
    strategy=alternatives(cell.strategy for cell in FOUND),
    order=alternatives(product.order for product in PRODUCTS),
    region=alternatives(product.region for product in PRODUCTS),
    ratio=alternatives(grid_cells.number(product.ratio) for product in PRODUCTS if product.ratio),
    figure=alternatives(grid_targets.FIGURES),
    table=alternatives(grid_targets.TABLES),


def common_options(stage, shared=False):
    """What every script is told: the fingerprint of its code, and where its finished work is kept."""
    fingerprint = fingerprints.of_script(SCRIPTS / f"{stage}.py", Path(workflow.basedir) / "src")
    return ["--fingerprint", fingerprint, "--state", PATHS.shared_state if shared else PATHS.state]


def base_of(wildcards):
    return PATHS.base(wildcards.model)


def mastery_of(wildcards):
    return PATHS.mastery(wildcards.model)


def templates_of(wildcards):
    return PATHS.templates(wildcards.model)


def order_of(wildcards):
    return f"{PATHS.root}/{wildcards.model}/{wildcards.train_set}/order-seed{wildcards.seed}.parquet"


def model_of(wildcards):
    """The model that a cell measures: the base itself at n = 0."""
    trained = wildcards.strategy == grid_cells.FULL
    return f"{CELL}/checkpoint".format(**wildcards) if trained else PATHS.base(wildcards.model)


def bos_of(wildcards):
    return STUDY.models[wildcards.model].bos


onstart:
    if set(workflow.dag_settings.targets) != {"cells"}:
        grid_paths.record(STUDY)


onsuccess:
    shell("rm -rf {PATHS.root:q}/partial")


onerror:
    # What is finished is worth a page, and what is not is named with its log.
    shell("{PYTHON:q} {SCRIPTS:q}/collect.py {STUDY.study:q} --partial")
