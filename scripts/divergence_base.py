"""`sftlens divergence-base` from a clone that is not installed (sftlens.commands.measure.divergence_base)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.cli import main

main("divergence_base")
