"""The study behind the DAG: its configuration, its paths, and the few functions that several rules call."""

import shlex
import sys
from functools import partial
from pathlib import Path

# This file's own place: the Snakefile that runs may be another, which uses this one as a module.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sftlens.config import loading
from sftlens.config.stages import mastery as probing
from sftlens.config.stages.data import TABLE
from sftlens.dag import paths as grid_paths, recorded, targets
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError, SftlensError, explained
from sftlens.planning import job_list, plan
from sftlens.runtime import driver
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.results import unfinished
from sftlens.training import deepspeed_config
from sftlens.yaml_file import read_mapping

SOURCES = ", ".join(map(str, workflow.configfiles)) or "--config"

# Snakemake looks for its lock files by a pattern, in which such a name would be one, too: a traceback at the first run.
if "{" in str(Path.cwd()) and str(workflow.workflow_settings.persistence_backend) == "file":
    sys.exit(
        f"error: {Path.cwd()}: Snakemake cannot keep its lock files in a folder with braces in its name; "
        "call `sftlens study`, or add --persistence-backend db"
    )

# Kept open as long as this process lives.
DRIVER = driver.hold(Path.cwd()) if workflow.is_main_process else None

# What one run asks for is no property of the study: it stands on the command line and in no job's settings.
ONLY = config.pop("only", None)

# An exception would drag a traceback of this file along.
try:
    # Of a key that stands twice Snakemake takes the last value without a word.
    for path in workflow.configfiles:
        read_mapping(Path(path), ConfigError)
    STUDY = loading.load(config, SOURCES)
    ASKED = targets.select(STUDY, ONLY)
    deepspeed_config.check(STUDY.finetuning)
    JOBS = Jobs(STUDY)
    JOBS.sets.check()
    RECORDED = recorded.read_snapshot(Path(grid_paths.Paths(STUDY).root))
except SftlensError as error:
    sys.exit(f"error: {error}")

CHOSEN = ",".join(ASKED.experiments)
PATHS = JOBS.paths

CONFLICT = recorded.conflict(STUDY, RECORDED, recorded.read_data(Path(PATHS.root))) if RECORDED else None
if CONFLICT:
    sys.exit(
        f"error: {PATHS.root} was made by another configuration: {CONFLICT} (in {SOURCES}); "
        f"give this study another name (`study:`), or move {PATHS.root} away"
    )

# Of a workflow that another one uses as a module, Snakemake runs no `onstart`.
if Path(workflow.main_snakefile).resolve() not in (ROOT / "Snakefile", ROOT / "workflow/Snakefile"):
    recorded.record(STUDY)

CONDA = "conda" in str(workflow.deployment_settings.deployment_method).lower()
# Through the environment, not the command lines: where a clone or its data lie must not enter what a job depends on.
# The interpreter that runs Snakemake also runs the jobs, unless they have environments of their own.
PYTHON = "" if CONDA else f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
SCRIPTS = shlex.quote(str(ROOT / "scripts"))
VARIABLE = TABLE if STUDY.facts.source == "table" else "ENTITY_QUESTIONS_DIR"
DATA = f"export {VARIABLE}={shlex.quote(STUDY.facts.path)}; " if STUDY.facts.path else ""
PREFIX = f"set -euo pipefail; {PYTHON}{DATA}export SCRIPTS={SCRIPTS}; "
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))  # Snakemake formats it

CELL = f"{PATHS.root}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}"
LOGS = f"{PATHS.root}/logs"


wildcard_constraints:
    **JOBS.constraints(),


onstart:
    # Snakemake starts at most 100 jobs a second unless told otherwise, and every time it looks for the next jobs it plans
    # to look again a second later, for good: after n jobs it looks n times a second, at all inputs of all that wait.
    # Without a limit it looks when a job has finished. --max-jobs-per-timespan knows no "none", and with a long timespan
    # Snakemake would not end before it is over, so that this leans on an attribute of Snakemake 9.27 (a test names the
    # version: tests/repository/test_leanings.py). A limit that the user set stays.
    limiter = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    if set(workflow.dag_settings.targets) not in ({"cells"}, {"plan"}):
        try:
            recorded.record(STUDY)
        except OSError as error:
            sys.exit(f"error: {explained(error)}")


onerror:
    # What failed is named with its error and its log, whatever ran it; what is finished is worth a page.
    unfinished.tell(ASKED)
    if JOBS.products and not CONDA:
        shell('python "$SCRIPTS"/collect.py {STUDY.study:q} --partial --quiet --only {CHOSEN:q}')
