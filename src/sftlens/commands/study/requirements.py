"""Print the GPUs, memory and time that the models of a study need, from their geometry.

  sftlens requirements config/paper.yaml

The study's jobs request the same from Slurm, with 20 % more memory, and 50 % more in each further try
(sftlens.resources.memory has the arithmetic).
"""

from pathlib import Path

from sftlens.commands import options
from sftlens.config import loading
from sftlens.resources import describe


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    print(describe.describe(loading.load_file(parser.parse_args().study)))
