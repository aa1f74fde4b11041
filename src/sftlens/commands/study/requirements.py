"""Print what the models of a study need: GPUs, memory and time, from their geometry.

  sftlens requirements config/paper.yaml

The same numbers are what the study's jobs ask Slurm for, with a fifth more memory, and half as much again in each
further try (src/sftlens/grid/memory.py has the arithmetic).
"""

from pathlib import Path

from sftlens.commands import options
from sftlens.config import loading
from sftlens.resources import describe


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    print(describe.describe(loading.load_file(parser.parse_args().study)))
