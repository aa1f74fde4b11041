"""Print what a study costs before anything runs: jobs, GPU and CPU hours, bytes read and written, peak of the disk.

  python scripts/plan.py config/paper.yaml
  python scripts/plan.py config/paper.yaml --only scaling,restoration

The same as `snakemake plan`. Its rates are the section `plan` of the configuration.
"""

import argparse
from pathlib import Path

from sftlens.config import loading
from sftlens.dag import only
from sftlens.planning import plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    parser.add_argument("--only", help="experiments, separated by commas (default: all of the study)")
    args = parser.parse_args()
    chosen = only.select(loading.load_file(args.study), args.only)
    print(plan.Plan(chosen).described())
