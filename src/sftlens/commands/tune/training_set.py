"""Put the train facts of a bucket into the order from which every scale takes its first n (paper section 3).

  sftlens training-set --mastery M.parquet --train-set D2 --model-name tiny --out order.parquet

The relations take turns; the order within each depends on model, training set and seed alone. `mixed` is the
union of the buckets.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.data import tables, training_sets, used


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--mastery", type=Path, required=True, help="facts with their mastery (sftlens mastery)")
    parser.add_argument("--train-set", required=True, help="D0, D1, D2, D3, D4 or mixed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order")
    parser.add_argument("--model-name", required=True, help="name of the model; each has orders of its own")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    args = parser.parse_args()

    facts = tables.facts(args.mastery, ["split", "relation", "bucket"], ["subject"])
    facts = used.by_order(facts, args.train_set)

    def compute(folder: Path) -> None:
        order = training_sets.order(facts, args.train_set, args.seed, args.model_name)
        files.write_parquet(folder / "order.parquet", order.drop(columns="split"))

    program.stage(
        args,
        "training_set",
        outputs={"order.parquet": args.out},
        inputs=program.contents(args, mastery=facts),
        settings={name: getattr(args, name) for name in ("train_set", "seed", "model_name")},
        compute=compute,
    )
