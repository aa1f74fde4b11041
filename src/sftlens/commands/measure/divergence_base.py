"""Compute the base model's half of the divergence, once for all models fine-tuned from it (paper section 5).

  sftlens divergence-base --base DIR --facts mastery.parquet --templates T.yaml --out base.parquet

One row a test fact of bucket D4: the sentence of the relation's best template, how many words of the base model's
completion stand before the answer, whether the fact is kept, and the base's logits of the next token after the sentence
and after the question. sftlens divergence takes it as --of-base.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.data import relations, tables


def main() -> None:
    parser = options.parser(__doc__, DivergenceSettings, without={"top"})
    parser.add_argument("--base", type=options.Model, required=True, help="pre-trained model: folder or hub id")
    parser.add_argument("--facts", type=Path, required=True, help="its mastery table")
    parser.add_argument("--templates", type=Path, required=True, help="the templates it was probed with")
    add_max_templates(parser)
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args()
    settings, facts = options.settings(args, DivergenceSettings), read_facts(args.facts)
    inputs = program.contents(args, "base", "templates", facts=facts)
    key = {**settings.model_dump(exclude={"top", "batch_tokens"}), "bos": args.bos, **first_templates(args)}
    key |= program.computing(args, args.base)

    def compute(folder: Path) -> None:
        files.write_parquet(folder / "base.parquet", half_of_base(args, facts, settings))

    program.stage(args, "divergence_base", {"base.parquet": args.out}, inputs, key, compute)


def add_max_templates(parser: argparse.ArgumentParser) -> None:
    """Add the option of how many of a file's templates were used."""
    text = "the mastery table was probed with the first N templates of each relation (default: all)"
    parser.add_argument("--max-templates", type=int, metavar="N", help=text)


def first_templates(args: argparse.Namespace) -> dict[str, int]:
    """Return that number as part of a key; nothing where it was not given."""
    return {} if args.max_templates is None else {"max_templates": args.max_templates}


def read_facts(path: Path) -> Any:
    """Return what the divergence uses of a mastery table."""
    columns = ("split", "relation", "subject", "bucket", "template_hits")
    return tables.used_by_divergence(tables.facts(path, columns, ["template_trials"]))


def half_of_base(args: argparse.Namespace, facts: Any, settings: DivergenceSettings) -> Any:
    """Return the base model's half of the divergence of `facts` (`evaluation.divergence.of_base`)."""
    from sftlens.evaluation import divergence
    from sftlens.inference import prompts
    from sftlens.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
    base = checkpoints.load_model(args.base, device=args.device, compute=args.compute_dtype)
    if note := prompts.bos_note(tokenizer):
        print(f"divergence: {note}", file=sys.stderr)
    sentences = relations.first_templates(relations.load_templates(args.templates), args.max_templates)
    chosen = divergence.select(base, tokenizer, facts, sentences, settings)
    return divergence.of_base(base, tokenizer, chosen, settings)
