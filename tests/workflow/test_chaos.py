"""The short form of tests/chaos: a study that is disturbed at random ends with the bytes of the undisturbed one."""

import runpy
from argparse import Namespace
from pathlib import Path

from repository import ROOT


def test_a_disturbed_study_ends_as_the_undisturbed_one(finished: Path, tmp_path: Path) -> None:
    play = runpy.run_path(str(ROOT / "tests/chaos/run.py"))["play"]
    options = Namespace(keep=tmp_path, faults=3, pause=3.0, seconds=15.0)
    one = play(0, 1, finished, 0, options)
    assert not one.fault, f"{one.fault} (after {', '.join(one.done)}; {one.calls} calls)"
