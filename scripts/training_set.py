"""`sftlens training-set` from a clone that is not installed (sftlens.commands.tune.training_set)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.cli import main

main("training_set")
