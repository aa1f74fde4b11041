"""Print what a study costs before it runs: jobs, GPU and CPU hours, data read and written, peak disk space.

  sftlens plan config/paper.yaml
  sftlens plan config/paper.yaml --only scaling,restoration

The same as `snakemake plan`. Its rates are the section `plan` of the configuration.
"""

from pathlib import Path

from sftlens.commands import options
from sftlens.config import loading
from sftlens.dag import targets
from sftlens.planning import plan


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    parser.add_argument("--only", help="experiments, separated by commas (default: all of the study)")
    args = parser.parse_args()
    chosen = targets.select(loading.load_file(args.study), args.only)
    print(plan.Plan(chosen).described())
