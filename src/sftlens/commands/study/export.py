"""Write a study's results in the form of another tool: lm-evaluation-harness, a Hugging Face dataset, MLflow.

  sftlens export demo --to lm-eval --out exported     exported/<model>/results_<date>.json, as `lm_eval` writes them
  sftlens export demo --to dataset --out exported     Parquet files and a card, for `load_dataset` or the Hub
  sftlens export demo --to mlflow --out mlruns        a file store of MLflow: a run a model, with its loss curve
  sftlens export /data/results/demo --to ...          of a study that lies elsewhere

It reads what is finished; the study's folder stays as it is.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import headline, options
from sftlens.dag import recorded
from sftlens.dag.cells import distinct
from sftlens.dag.contrasts import ANSWERED
from sftlens.dag.paths import Paths
from sftlens.errors import ConfigError, DataError
from sftlens.results import answers, collect
from sftlens.results.export import dataset, harness, tracking
from sftlens.results.unfinished import made

FORMS = {"lm-eval": "models", "dataset": "rows of results", "mlflow": "runs"}
"""What an export is to, and what it counts."""


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", help="name of the study below results/, or a path to its folder or results.parquet")
    parser.add_argument("--to", required=True, choices=FORMS, help="the form")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    args = parser.parse_args()
    if args.out.exists():
        raise ConfigError(f"{args.out}: exists; give a new folder, or remove it")
    out = args.out.absolute()
    study = recorded.made(root := recorded.entered(args.study))
    paths = Paths(study)
    finished = [product for product in distinct(study) if made(paths, product)]
    answered = [product for product in finished if product.stage in ANSWERED and answers.there(paths, product)]
    if not (answered if args.to == "lm-eval" else finished):
        raise DataError(f"{root}: nothing is finished that could be exported; run the workflow first")
    with files.atomic_path(out) as folder:
        if args.to == "lm-eval":
            count = harness.write(folder, paths, answered)
        elif args.to == "dataset":
            count = dataset.write(folder, study, collect.collect(study)[0], answered)
        else:
            count = tracking.write(folder, out, study, finished)
    headline.say("export", [args.out], f"{count:,} {FORMS[args.to]}")
