"""Compare the updates of several fine-tunings of one base model: their norms, and the cosines between them.

    sftlens compare-changes BASE FINETUNED FINETUNED ... --out FILE.csv [--region transformer]
    sftlens compare-changes BASE FINETUNED ... --facts mastery.parquet --out FILE.csv

Models are Hugging Face folders, base.json pointers or hub ids (org/name@revision). Writes one row for each pair of
models, and for each with itself: `a`, `b` (the folders as given), `norm_a`, `norm_b` (l2 over the region), `product`
(inner product) and `cosine`; beside the cosine what two unrelated changes have: its mean and SD where one of them is
permuted within each tensor (`permuted_cosine`, `permuted_sd`; over all permutations, exactly), and its SD where one has
a random direction in each tensor (`random_sd`; the mean is 0).
With --facts one more row for each model, `b` being `gradient`: that of the base model's loss on the test facts of
bucket D4 (--bucket), in nats per answer token. There `product` is what the update does to this loss to first order, and
a negative cosine lowers it.
In short types such as bfloat16, or after few steps of AdamW, rounding and signs determine much of an update's
direction.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from sftlens import files, gate
from sftlens.changes import change_cosines
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.data import tables
from sftlens.models.delta.reader import open_tensors
from sftlens.models.loading.placement import ranking_device
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration.pairs import Pair
from sftlens.runtime import provenance
from sftlens.runtime.progress import bar

GRADIENT = "gradient"
"""What stands for it in the column b."""


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, nargs="+", help="models fine-tuned from it")
    parser.add_argument("--region", default="transformer", help="parameters that are compared")
    parser.add_argument("--facts", type=Path, help="the base's mastery table: compare with the gradient of a loss, too")
    parser.add_argument("--bucket", default="D4", help="bucket of the test facts whose loss that is")
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="table to write (.csv or .parquet)")
    parser.workflow.add_argument("--summary", type=Path, metavar="FILE", help="summary to write (JSON)")
    args = parser.parse_args()
    base = open_tensors(args.base)
    progress = bar(description="compare", unit="element")
    pairs = [Pair(base, open_tensors(path), args.region, progress=progress.update) for path in args.finetuned]
    progress.reset(total=sum(pair.elements() for pair in pairs))
    facts = _facts(args.facts, args.bucket) if args.facts else None
    names = [*map(str, args.finetuned), *([GRADIENT] if args.facts else [])]
    inputs = program.contents(args, "base", facts=facts)
    inputs |= {f"finetuned {i}": program.content(path) for i, path in enumerate(args.finetuned)}
    depends = {"region": args.region, "names": names}
    if args.facts:
        depends |= {"bucket": args.bucket, "bos": args.bos, **program.computing(args, args.base)}

    def compute(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            directions = [_gradient(args, facts, Path(made))] if args.facts else []
            for pair in pairs:
                pair.device = ranking_device(args.device)  # now: CUDA may be asked once the GPUs are lent
            found = change_cosines.products(pairs, directions)
        table = change_cosines.table(found, names, len(pairs))
        # Both, as the key of the result does not say which of them is asked for.
        files.write_parquet(folder / "cosines.parquet", table)
        files.write_text(folder / "cosines.csv", gate.csv_text(table))
        sizes = {"elements": pairs[0].elements(), "models": len(pairs)}
        summary = provenance.summary("compare_changes", settings=depends, inputs=inputs, metrics=[], **sizes)
        files.write_json(folder / "summary.json", summary)

    outputs = {"cosines.parquet" if args.out.suffix == ".parquet" else "cosines.csv": args.out}
    outputs |= {"summary.json": args.summary} if args.summary else {}
    program.stage(args, "compare_changes", outputs, inputs, depends, compute)


def _facts(path: Path, bucket: str) -> Any:
    """Return the facts whose loss is meant."""
    table = tables.facts(path, ("split", "bucket", "question", "object"))
    rows = table[(table["split"] == "test") & (table["bucket"] == bucket)]
    return rows[["fact_id", "question", "object"]].reset_index(drop=True)


def _gradient(args: argparse.Namespace, facts: Any, folder: Path) -> TensorFolder:
    """Return the gradient as tensors in a file of `folder`, so that no model need stay in memory beside it."""
    from sftlens.evaluation import loss_gradient
    from sftlens.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
    model = checkpoints.load_model(args.base, device=args.device, compute=args.compute_dtype)
    gradients, _, _ = loss_gradient.compute(model, tokenizer, facts, EvaluationSettings().batch_tokens)
    loss_gradient.write(folder, gradients)
    return TensorFolder(folder)
