"""Run a study, every stage from the questions to the report, with Snakemake, from any folder.

  sftlens study                                               the demo, on all cores: results/demo/report.html
  sftlens study -n --quiet rules                              what would run
  sftlens study --configfile my-study.yaml                    your own study (config/README.md describes the keys)
  sftlens study plan --configfile config/paper.yaml           what it costs before anything runs
  sftlens study --profile slurm --configfile config/paper.yaml

All arguments are Snakemake's own (`snakemake --help`); without --cores, --jobs, --profile or --executor it uses all
cores. A configuration, a profile or a file that a configuration names (config/relations.yaml) is looked for in the
working folder first, then among those that come with sftlens. Results go to results/ in the working folder.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sftlens.settings import SHIPPED, found

NAMES_CONFIG = ("--configfile", "--configfiles")
PLACES = re.compile(r"-[cje].*|--(cores|jobs|profile|executor)(=.*)?")
"""Options that say where a study runs: with one of these, no number of cores is added."""


def main() -> None:
    """Replace this process by Snakemake's."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & {*arguments}:
        print(__doc__.strip())
        return
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SHIPPED / "Snakefile"), *completed(arguments)]
    os.execv(sys.executable, command)


def completed(arguments: Sequence[str]) -> list[str]:
    """Return Snakemake's arguments with what was left out: where files lie, the configuration, the cores."""
    given = list(_located(arguments))
    if not any(PLACES.fullmatch(word) for word in given):
        given += ["--cores", "all"]
    if not any(word.split("=")[0] in NAMES_CONFIG for word in given) and not Path("config/config.yaml").is_file():
        given += ["--configfile", str(SHIPPED / "config/config.yaml")]
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
