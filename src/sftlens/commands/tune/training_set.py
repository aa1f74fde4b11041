"""Order the train facts of a mastery bucket, the rows of a recipe or a task's examples: n are the first n (section 3).

  sftlens training-set --mastery M.parquet --train-set D2 --model-name tiny --out order.parquet
  sftlens training-set --mastery M.parquet --train-set dose20 --recipe study.yaml --model-name tiny --out order.parquet
  sftlens training-set --examples gsm8k/train.jsonl --train-set gsm8k --model-name tiny --out order.parquet

Relations alternate; the order within each depends on model, training set and seed alone. `mixed` is the union of the
buckets. A recipe stands under `recipes` in a study's configuration, or is given as JSON (docs/training.md).
"""

import json
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.recipes import Recipe
from sftlens.data import recipes, tables, training_sets
from sftlens.errors import ConfigError
from sftlens.registry import unknown
from sftlens.tasks import TASKS
from sftlens.yaml_file import read_mapping


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--mastery", type=Path, help="facts with their mastery (sftlens mastery)")
    listed = ", ".join(TASKS.names())
    text = f"D0, D1, D2, D3, D4, mixed, the name of the recipe, or with --examples a task ({listed})"
    parser.add_argument("--train-set", required=True, help=text)
    parser.add_argument("--recipe", metavar="FILE|JSON", help="a YAML file that has it under `recipes`; or JSON")
    text = "completions sampled for the facts (mastery-texts.parquet), for a recipe with `answers: own`"
    parser.add_argument("--texts", type=Path, help=text)
    parser.add_argument("--examples", type=Path, help="training examples of a task, in their published form")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order")
    parser.add_argument("--model-name", required=True, help="name of the model; each model has its own order")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    args = parser.parse_args()
    if bool(args.mastery) == bool(args.examples):
        raise ConfigError("options --mastery and --examples: give one of them, the facts or a task's examples")

    how: tuple[str, int, str] = (args.train_set, args.seed, args.model_name)
    key = {name: getattr(args, name) for name in ("train_set", "seed", "model_name")}
    rows: dict[str, Any]
    if args.examples:
        rows = {"examples": TASKS.get(args.train_set).read(args.examples)}
    elif args.recipe:
        recipe = _recipe(args.recipe, args.train_set)
        facts = tables.used_by_recipe(tables.facts(args.mastery, ["split", "relation", "bucket"], ["subject"]))
        texts = files.read_parquet(args.texts, ["fact_id", "template", "text", "count"]) if args.texts else None
        said = None if texts is None else recipes.own_answers(facts, texts).set_index("fact_id")["text"].str.strip()
        rows = recipes.pools(recipe, args.train_set, facts, said)
        # Where a file of questions lies is not in the key; what it holds is.
        key["recipe"] = recipe.model_dump(exclude={"parts": {"__all__": {"file"}}})
    else:
        facts = tables.facts(args.mastery, ["split", "relation", "bucket"], ["subject"])
        rows = {"mastery": tables.used_by_order(facts, args.train_set)}

    def compute(folder: Path) -> None:
        if args.examples:
            order = training_sets.drawn(rows["examples"], "\0".join(map(str, how)) + "\0")
        elif args.recipe:
            order = recipes.order(recipe, args.train_set, rows, args.seed, args.model_name)
        else:
            order = training_sets.order(rows["mastery"], *how)
        files.write_parquet(folder / "order.parquet", order.drop(columns="split", errors="ignore"))

    inputs = program.contents(args, **rows)
    program.stage(args, "training_set", {"order.parquet": args.out}, inputs, key, compute)


def _recipe(given: str, name: str) -> Recipe:
    """Return a recipe from JSON, or from a file that has it by its name. Raises ConfigError."""
    if given.lstrip().startswith("{"):
        return options.nested("--recipe", [given], Recipe)
    there = read_mapping(Path(given).expanduser(), ConfigError).get("recipes")
    there = there if isinstance(there, dict) else {}
    if name not in there:
        raise ConfigError(f"{given}: {unknown('recipe', name, list(there)) if there else 'has no key `recipes`'}")
    return options.nested("--recipe", [json.dumps(there[name], default=str)], Recipe)
