"""Run one of the readers' experiments over fresh worlds: the interval is over worlds, the sentence the program's.

  sftlens worlds --experiment steps --worlds 12                       as config/doubts.yaml has it
  sftlens worlds --experiment steps --worlds 12 --configfile mine.yaml --cores 2

Each world is a study of its own, STUDY-worldN, whose facts, corpus and model have seeds of their own; the seeds of the
first are those of the configuration. What is finished is not run again, so the same command goes on. It writes below
results/STUDY-worlds/NAME: the table over worlds, its figure and sentence, and worlds.csv with the rows of every world.
"""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sftlens import files
from sftlens.cli import ENTRY
from sftlens.commands import headline, options
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag.recorded import RESULTS
from sftlens.dag.targets import TARGETS
from sftlens.doubts import DOUBTS
from sftlens.errors import ConfigError, DataError
from sftlens.settings import found
from sftlens.yaml_file import read_mapping

CONFIGS = ("config/doubts.yaml", "config/doubts-parents.yaml")
"""The configurations that have the experiments; the first that has the one asked for is taken."""


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("--experiment", required=True, metavar="NAME", help=f"one of: {', '.join(DOUBTS.names())}")
    parser.add_argument("--worlds", type=int, default=12, metavar="N", help="number of worlds")
    text = f"configuration (YAML) that has the experiment (default: {' or '.join(CONFIGS)})"
    parser.add_argument("--configfile", help=text)
    parser.add_argument("--cores", default="all", help="CPU cores that Snakemake may use")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would run")
    args = parser.parse_args()
    name = DOUBTS.get(args.experiment).name
    path = Path(found(args.configfile)) if args.configfile else default(name)
    if args.worlds < 1:
        raise ConfigError("option --worlds: give a number of worlds from 1 on")
    values = read_mapping(path, ConfigError)
    study = loading.load(values, str(path))
    refuse(study, name, path)
    root = Path(RESULTS) / f"{study.study}-worlds"
    failed, made = [], {}
    for number in range(1, args.worlds + 1):
        one = world(values, study, number)
        config = root / f"world{number}.yaml"
        files.write_text(config, yaml.safe_dump(one, sort_keys=False, allow_unicode=True))
        # A study a time: each takes all the cores it is given, and a lock belongs to the working folder.
        run = [sys.executable, str(ENTRY), "study", name, "--configfile", str(config), "--cores", args.cores]
        run += ["-n", "--quiet", "rules"] if args.dry_run else []
        if (status := subprocess.run(run, check=False).returncode) == 0:
            made[number] = Path(RESULTS) / one["study"] / "tables" / f"{name}.csv"
        else:
            failed.append(number)
            print(f"worlds: world {number} failed (exit {status}); its logs: {RESULTS}/{one['study']}", file=sys.stderr)
    written = write(root / name, name, study, made) if made and not args.dry_run else []
    if failed:
        kept = f"the table holds the other {len(made)}" if made else "there is no table"
        raise DataError(
            f"{len(failed)} of {args.worlds} worlds failed ({', '.join(map(str, failed))}); {kept}. The same command "
            "runs them again and goes on where they stopped"
        )
    if written:
        headline.say("worlds", written)


def default(name: str) -> Path:
    """Return the shipped configuration that has an experiment."""
    paths = [Path(found(config)) for config in CONFIGS]
    return next(
        (path for path in paths if name in (read_mapping(path, ConfigError).get("experiments") or {})), paths[0]
    )


def refuse(study: Study, name: str, path: Path) -> None:
    """Raise ConfigError where a study lacks the experiment, or has a model or facts of which there is only one."""
    axes = getattr(study.experiments, name)
    if axes is None:
        raise ConfigError(f"{path}: has no experiment {name!r}; add experiments.{name}")
    for model in axes.models or study.models:
        if study.models[model].source != "pretrain":
            raise ConfigError(
                f"{path}: model {model!r} exists already, so there is one of it and no worlds; run the experiment on "
                f"it with `sftlens study {name} --configfile {path}`"
            )
    if study.facts.source != "world":
        raise ConfigError(f"{path}: facts.source is {study.facts.source!r}, and only invented worlds can be drawn anew")


def world(values: dict[str, Any], study: Study, number: int) -> dict[str, Any]:
    """Return the configuration of the world of a number, from 1 on: another study, and other seeds."""
    one = copy.deepcopy(values)
    one["study"] = f"{study.study}-world{number}"
    one.setdefault("world", {})["seed"] = study.world.seed + number - 1
    for model, entry in study.models.items():
        if entry.source == "pretrain":
            given = one["models"][model].get("pretraining") or {}
            one["models"][model]["pretraining"] = {**given, "seed": entry.pretraining.seed + number - 1}
    return one


def write(stem: Path, name: str, study: Study, made: dict[int, Path]) -> list[Path]:
    """Write the table over worlds with its figure and sentence, and every world's rows; return what was written."""
    from sftlens.reporting import frames, style
    from sftlens.statistics import worlds

    tables = {number: frames.read_csv(path) for number, path in made.items()}
    table = worlds.over_worlds(list(tables.values()))
    target = TARGETS.get(name)
    caption = (
        f"Means over {len(made)} worlds, each with facts, corpus and model of its own; 95 % t intervals over worlds. "
        f"{worlds.NEEDED}: how many would tell a difference of one point from 0 (80 % power, two-sided 5 %), `-` for "
        "what is not in points. "
        f"{target.caption}"
    )
    target = dataclasses.replace(target, caption=caption)
    for kind in target.kinds:
        style.write(stem / name, kind, target, table, study.notice)
    import pandas as pd

    rows = [rows.assign(World=str(number)) for number, rows in tables.items()]
    frames.write_csv(pd.concat(rows, ignore_index=True), stem / "worlds.csv")
    print(frames.said(target, table))
    return [stem / f"{name}.csv", stem / f"{name}.svg", stem / "worlds.csv"]
