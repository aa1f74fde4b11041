"""The options of asking facts during a training, and the facts that are asked."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.commands import options
from sftlens.config.stages.evaluation import KNOWN, TRAINED, DuringSettings, EvaluationSettings, guarded
from sftlens.data import tables
from sftlens.errors import DataError
from sftlens.tasks import DEFAULT, TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sftlens.training.during import Asked


def add(parser: options.Parser) -> None:
    """Add the options besides those of `DuringSettings`."""
    text = "ask facts after these steps, before the first and after the last one"
    parser.add_argument("--evaluate-at", dest="during", type=int, nargs="+", metavar="STEP", help=text)
    text = "facts that are asked then, with mastery buckets (sftlens mastery) or without"
    parser.add_argument("--facts", type=Path, help=text)
    longest = EvaluationSettings().max_new_tokens
    parser.add_argument("--max-new-tokens", type=int, default=longest, metavar="N", help="longest answer then, tokens")


def facts(args: argparse.Namespace, trained: Any) -> Any:
    """Return the facts that are asked during a training on the rows `trained`: a sample of each split, and of them.

    Columns: fact_id, split and bucket ("" where unknown), question, aliases. None where nothing is asked. Raises
    ConfigError for an option that lacks another one, DataError where there is nothing to ask.
    """
    import pandas as pd

    during = options.settings(args, DuringSettings)
    options.both("--facts", args.facts, "--evaluate-at", during.during)
    if not during.during:
        return None
    table = tables.facts(args.facts, optional=["split", "bucket"], unique=False)
    table = table.assign(**{name: "" for name in ("split", "bucket") if name not in table})
    seen = table["question"].isin(trained["question"])
    own, table = table[seen].assign(split=TRAINED), table[~seen]
    if table.empty:
        raise DataError(f"{args.facts}: has no fact that is not trained on; give a table with some")
    parts = [part for _, part in table.groupby("split", sort=False)]
    samples = [tables.fixed_sample(part, during.during_facts, "during") for part in parts]
    found = pd.concat([*samples, tables.fixed_sample(own, during.during_trained, "during")])
    if during.stop_when_lost and not any(map(guarded, found["split"], found["bucket"])):
        raise DataError(
            f"{args.facts}: no fact that is asked is of {' or '.join(KNOWN)} and neither trained on nor a test fact, "
            "so stop_when_lost has nothing to look at; give a mastery table that has some (sftlens mastery), raise "
            "during_facts, or unset stop_when_lost"
        )
    return found[["fact_id", "split", "bucket", "question", "aliases"]].reset_index(drop=True)


def asked(args: argparse.Namespace, table: Any, tokenizer: "PreTrainedTokenizerBase", task: str) -> "Asked":
    """Return the questions of `facts`, the shortest first, in the prompt of the task that is trained on.

    A task whose answers are not judged by the accepted ones (`contains`) has other prompts: the default's is taken.
    """
    from sftlens.inference import prompts
    from sftlens.training.during import Asked

    form = task if "contains" in TASKS.get(task).judgements else DEFAULT
    ids = prompts.encode_prompts(tokenizer, table["question"].tolist(), task=form)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # little padding, and equal shares of the processes
    accepted, splits, buckets = ([table[name].tolist()[i] for i in order] for name in ("aliases", "split", "bucket"))
    during = options.settings(args, DuringSettings)
    return Asked([ids[i] for i in order], accepted, splits, buckets, during, args.max_new_tokens)
