"""Print what the models of a study need: GPUs, memory and time, from their geometry.

  python scripts/requirements.py config/paper.yaml

The same numbers are what the study's jobs ask Slurm for, with a fifth more memory, and half as much again in each
further try (src/sftlens/grid/memory.py has the arithmetic).
"""

import argparse
from pathlib import Path

from sftlens.config import loading
from sftlens.resources import describe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    print(describe.describe(loading.load_file(parser.parse_args().study)))
