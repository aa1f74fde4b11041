"""Remove from results/ what no result of a study needs any more; without --yes only say what that is.

  sftlens clean demo                  what would be removed, and how much space that is
  sftlens clean demo --yes            remove it
  sftlens clean demo --shared --yes   also what no study below results/ refers to: facts, base models, mastery tables

Finished work of a cell, a setting or an input that the study no longer has goes, and what killed processes left behind.
Results stay, and so does work that continues, or whose owner lives. What another version of sftlens wrote is named and
left alone. The configuration is that of results/STUDY/study.json, which every run of the workflow writes.
"""

import sys
from pathlib import Path

from sftlens import files
from sftlens.commands import options
from sftlens.dag import recorded
from sftlens.dag.recorded import RESULTS, SNAPSHOT
from sftlens.errors import ConfigError, SftlensError
from sftlens.results import leavings


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", help="name of the study: its folder below results/")
    parser.add_argument("--shared", action="store_true", help="also what studies share and none refers to")
    parser.add_argument("--yes", action="store_true", help="remove it")
    args = parser.parse_args()
    study = recorded.made(folder := Path(RESULTS, args.study))
    if study.study != args.study:
        raise ConfigError(
            f"{folder / SNAPSHOT}: key study is {study.study!r}, but its folder is {args.study!r}; rename one"
        )
    found = leavings.of_study(study)
    try:
        found += leavings.of_all()
    except SftlensError as error:
        if args.shared:
            raise
        print(f"clean: what studies share is not looked at: {error}", file=sys.stderr)
    freed = 0
    for one in found:
        chosen = one.removable and (args.shared or not one.shared)
        size, kept = one.size(), "" if chosen or not one.removable else " (removed with --shared)"
        print(f"{size / 1e6:12,.1f} MB  {one.path}: {one.why}{kept}")
        if chosen:
            freed += size
            if args.yes:
                files.remove(one.path)
    print(f"{freed / 1e6:12,.1f} MB  {'removed' if args.yes else 'would be removed; --yes removes it'}")
