"""`sftlens restore` from a clone that is not installed (sftlens.commands.fix.restore)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.cli import main

main("restore")
