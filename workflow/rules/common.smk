"""The study behind the DAG: its configuration, its paths, and the few functions that several rules call."""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from sftlens.errors import SftlensError
from sftlens.grid import counting, loading, paths as grid_paths, repairing
from sftlens.grid.jobs import Jobs
from sftlens.settings import probing

SOURCES = ", ".join(map(str, workflow.configfiles)) or "--config"

# An exception would drag a traceback of this file along.
try:
    STUDY = loading.load(config, SOURCES)
    RECORDED = grid_paths.read_snapshot(Path(grid_paths.Paths(STUDY).root))
except SftlensError as error:
    sys.exit(f"error: {error}")

JOBS = Jobs(STUDY, Path(workflow.basedir))
PATHS = JOBS.paths

CONFLICT = grid_paths.conflict(STUDY, RECORDED) if RECORDED else None
if CONFLICT:
    sys.exit(
        f"error: {PATHS.root} was made by another configuration: {CONFLICT} (in {SOURCES}); "
        f"give this study another name (`study:`), or move {PATHS.root} away"
    )

CONDA = "conda" in str(workflow.deployment_settings.deployment_method).lower()
# Through the environment, not the command lines: where a clone lies must not enter what a job depends on.
# The interpreter that runs Snakemake also runs the jobs, unless they have environments of their own.
PYTHON = "" if CONDA else f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
SCRIPTS = shlex.quote(str(Path(workflow.basedir) / "scripts"))
shell.prefix(f"set -euo pipefail; {PYTHON}export SCRIPTS={SCRIPTS}; ")

CELL = f"{PATHS.root}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}"
LOGS = f"{PATHS.root}/logs"


wildcard_constraints:
    **JOBS.constraints(),


onstart:
    if set(workflow.dag_settings.targets) != {"cells"}:
        grid_paths.record(STUDY)


onerror:
    # What is finished is worth a page, and what is not is named with its log.
    if JOBS.products:
        shell('python "$SCRIPTS"/collect.py {STUDY.study:q} --partial')
