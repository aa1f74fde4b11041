"""Garbage is looked for late, but it is."""

import subprocess
import sys

from repository import ROOT

LATE = """
import gc, weakref
from sftlens import allocation

class Cycle:
    def __init__(self):
        self.me = self

allocation.collect_late()
started = [[] for _ in range(900_000)]
lost = weakref.ref(Cycle())
assert lost() is not None and gc.get_freeze_count() == 0
more = [[] for _ in range(200_000)]
assert lost() is None and gc.get_freeze_count() > 900_000
lost = weakref.ref(Cycle())
again = [[] for _ in range(250_000)]
assert lost() is None
"""


def test_the_first_look_for_garbage_is_late_and_sets_apart_what_lasts() -> None:
    subprocess.run([sys.executable, "-c", LATE], check=True, cwd=ROOT / "src", timeout=60)
