"""Run a study, every stage from the questions to the report, with Snakemake, from any folder.

  sftlens study                                               the demo, on all cores: results/demo/report.html
  sftlens study -n --quiet rules                              what would run
  sftlens study --configfile my-study.yaml                    your own study (config/README.md describes the keys)
  sftlens study plan --configfile config/paper.yaml           what it costs before anything runs
  sftlens study --profile slurm --configfile config/paper.yaml

All arguments are Snakemake's own (`snakemake --help`); without --cores, --jobs, --profile or --executor it uses all
cores, and without --logger each finished job is one line. A configuration, a profile or a file that a configuration
names (config/relations.yaml) is looked for in the working folder first, then among those that come with sftlens.
Results go to results/ in the working folder. After a crash, even of Snakemake itself, the same command goes on: a lock
that a dead Snakemake left here is taken away.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sftlens.errors import ConfigError
from sftlens.runtime import driver
from sftlens.settings import SHIPPED, found
from sftlens.yaml_file import read_mapping

NAMES_CONFIG = ("--configfile", "--configfiles")
PLACES = re.compile(r"-[cje].*|--(cores|jobs|profile|executor)(=.*)?")
"""Options that say where a study runs: with one of these, no number of cores is added."""


def main() -> None:
    """Replace this process by Snakemake's."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & {*arguments}:
        print(__doc__.strip())
        return
    given = completed(arguments)
    # Snakemake's own answer to a file that is missing or no YAML is a traceback.
    told = _told(given)
    for name in told.configfile:
        read_mapping(Path(name), ConfigError)
    folder: Path = told.directory
    if "{" in str(folder.absolute()) and "--persistence-backend" not in {word.split("=")[0] for word in given}:
        # Snakemake looks for its lock files by a pattern, in which such a name would be one, too.
        given += ["--persistence-backend", "db"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SHIPPED / "Snakefile"), *given]
    if not {"-n", "--dry-run", "--unlock"} & {*given}:
        with driver.was_killed(folder) as killed:
            if killed:
                print("study: the Snakemake that ran here before was killed; its lock is taken away", file=sys.stderr)
                subprocess.run([*command, "--unlock", "--quiet"], check=False)
    os.execv(sys.executable, command)


def _told(arguments: Sequence[str]) -> argparse.Namespace:
    """Return which folder Snakemake works in (`directory`), and its configuration files (`configfile`)."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    parser.add_argument(*NAMES_CONFIG, nargs="+", default=[])
    return parser.parse_known_args(arguments)[0]


def completed(arguments: Sequence[str]) -> list[str]:
    """Return Snakemake's arguments with what was left out: where files lie, the configuration, the cores."""
    given = list(_located(arguments))
    if not any(PLACES.fullmatch(word) for word in given):
        given += ["--cores", "all"]
    if not any(word.split("=")[0] in NAMES_CONFIG for word in given) and not Path("config/config.yaml").is_file():
        given += ["--configfile", str(SHIPPED / "config/config.yaml")]
    if not any(word.split("=")[0] == "--logger" for word in given):
        given += ["--logger", "sftlens"]
    return given


def _located(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments, those that name a file or a profile that comes with sftlens with its place."""
    option = ""
    for word in arguments:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        option = (flag or option) if word.startswith("-") else option
        if value and option in NAMES_CONFIG:
            value = found(value)
        elif value and option == "--profile" and not Path(value).exists():
            value = found(f"profiles/{value}") if (SHIPPED / "profiles" / value).is_dir() else value
        yield flag + equals + value
