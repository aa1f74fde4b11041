"""`python -m sftlens STAGE ...`; also the file that starts the processes of a stage that has several."""

import sys
from pathlib import Path

# Started as a file, Python puts this folder first, whose rooms have names that the standard library has too.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from sftlens.cli import main  # noqa: E402

main()
