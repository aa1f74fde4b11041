"""Order the train facts of a mastery bucket; a training set of n facts is the first n (paper section 3).

  sftlens training-set --mastery M.parquet --train-set D2 --model-name tiny --out order.parquet

Relations alternate; the order within each depends on model, training set and seed alone. `mixed` is the union of the
buckets.
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
    parser.add_argument("--model-name", required=True, help="name of the model; each model has its own order")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    args = parser.parse_args()

    facts = used.by_order(tables.facts(args.mastery, ["split", "relation", "bucket"], ["subject"]), args.train_set)

    def compute(folder: Path) -> None:
        order = training_sets.order(facts, args.train_set, args.seed, args.model_name)
        files.write_parquet(folder / "order.parquet", order.drop(columns="split"))

    key = {name: getattr(args, name) for name in ("train_set", "seed", "model_name")}
    inputs = program.contents(args, mastery=facts)
    program.stage(args, "training_set", {"order.parquet": args.out}, inputs, key, compute)
