"""Measure how much fine-tuning changed each layer, and how concentrated the change is (paper Tables 3, 9 and 10).

    sftlens changes BASE FINETUNED --out DIR [--criterion relative] [--region transformer]

BASE and FINETUNED are Hugging Face folders, base.json pointers or hub ids (org/name@revision). Writes
DIR/summary.json, DIR/tensors.parquet and DIR/histogram.parquet. The rows of tensors.parquet are tensors: unchanged
elements, sums of the change, how many elements have a base of exactly 0 and what they hold of each sum, how many
elements are among the first 1 to 60 % by the criterion; columns `null_` are
those of the null model, in which the changes are permuted within each tensor (of the first draw; shares in the summary
are means over all draws, with their SD). The histogram of the criterion's keys
saves sftlens restore --changes DIR one pass over the models.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sftlens import files
from sftlens.changes import concentration, permutation_null
from sftlens.commands import options, program
from sftlens.config.stages.restoration import ChangesSettings
from sftlens.models.delta.reader import open_tensors
from sftlens.models.loading.placement import ranking_device
from sftlens.restoration import criteria, topk
from sftlens.restoration.export import check_out
from sftlens.restoration.pairs import Pair
from sftlens.runtime import provenance
from sftlens.runtime.progress import bar

METRICS = {"sum_r": "share_of_change", "sum_abs_d": "share_of_abs_d", "sum_d2": "share_of_d2"}
PASSES = 4
"""And one for each draw of the null model."""


def main() -> None:
    parser = options.parser(__doc__, ChangesSettings)
    parser.add_argument("base", type=options.Model, help="pre-trained model")
    parser.add_argument("finetuned", type=options.Model, help="model fine-tuned from it")
    options.add_choice(parser, "--criterion", "relative", {c.name: c.description for c in criteria.CRITERIA})
    parser.add_argument("--region", default="transformer", help="parameters that are ranked")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--device", help="torch device that compares the parameters, such as cuda (default: cpu)")
    options.add_gpus(parser)
    args = parser.parse_args()
    settings = options.settings(args, ChangesSettings)
    base, finetuned = open_tensors(args.base), open_tensors(args.finetuned)
    check_out(args.out, [base.folder, finetuned.folder])
    criterion = criteria.make(args.criterion, settings)
    progress = bar(description="changes", unit="element")
    pair = Pair(base, finetuned, args.region, progress=progress.update)
    progress.reset(total=(PASSES + settings.null_draws) * pair.elements())
    inputs = program.contents(args, "base", "finetuned")
    program.refuse_same(args.base, args.finetuned, inputs)
    where = {"criterion": args.criterion, "region": args.region}
    depends = {**where, **settings.model_dump()}

    def compute(folder: Path) -> None:
        pair.device = ranking_device(args.device)  # now: CUDA may be asked once the GPUs are lent
        counts = topk.histogram(pair, criterion)
        cuts = topk.cuts(pair, criterion, counts, concentration.RATIOS)
        found = concentration.measure(pair, criterion, cuts, settings.epsilon)
        null = permutation_null.measure(
            pair, criterion, concentration.RATIOS, settings.epsilon, settings.seed, settings.null_draws
        )
        tensors = found.tensors.join(null.tensors.drop(columns="name").add_prefix(concentration.NULL))
        files.write_parquet(folder / "tensors.parquet", tensors)
        bins = np.flatnonzero(counts)
        files.write_parquet(folder / "histogram.parquet", pd.DataFrame({"bin": bins, "count": counts[bins]}))

        metrics: list[dict[str, object]] = [
            {"ratio": cut.ratio, "metric": prefix + metric, "value": held[cut.ratio][column], "n": cut.elements}
            for prefix, held in (("", found.shares), (concentration.NULL, null.shares))
            for column, metric in METRICS.items()
            for cut in cuts
            if cut.ratio in held
        ]
        metrics += [
            {"ratio": ratio, "metric": f"null_sd_{METRICS[column]}", "value": sd, "n": settings.null_draws}
            for ratio, spread in null.spread.items()
            for column, sd in spread.items()
        ]
        unchanged = float(tensors["unchanged"].sum()) / pair.elements()
        metrics.append({"metric": "unchanged", "value": unchanged, "n": pair.elements()})
        distance = float(np.sqrt(tensors["sum_d2"].sum()))
        metrics.append({"metric": "distance_to_base", "value": distance, "n": pair.elements()})
        zeros = int(tensors[concentration.ZERO_BASE].sum())
        metrics.append({"metric": "zero_base", "value": zeros / pair.elements(), "n": pair.elements()})
        metrics += [
            {"metric": f"zero_base_{metric}", "value": tensors[f"zero_base_{column}"].sum() / total, "n": zeros}
            for column, metric in METRICS.items()
            if (total := tensors[column].sum())
        ]
        metrics = [{**where, **row} for row in (*metrics, *concentration.by_layer(tensors))]
        sizes = {"elements": pair.elements(), "tensors": len(pair.names)}
        summary = provenance.summary("changes", settings=depends, inputs=inputs, metrics=metrics, **sizes)
        files.write_json(folder / "summary.json", summary)

    outputs = {name: args.out / name for name in ("summary.json", "tensors.parquet", "histogram.parquet")}
    program.stage(args, "changes", outputs, inputs, depends, compute)
