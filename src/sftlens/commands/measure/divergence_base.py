"""Compute the base model's half of the divergence, once for all models that are fine-tuned from it (paper section 5).

  sftlens divergence-base --base DIR --facts mastery.parquet --templates T.yaml --out base.parquet

One row a test fact of bucket D4: the sentence of the relation's best template, how many words of the base model's
completion stand before the answer, whether the fact is kept, and the base's logits of the next token after the sentence
and after the question. sftlens divergence takes it as --of-base.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.commands.measure.divergence import COLUMNS
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.data import used


def main() -> None:
    parser = options.parser(__doc__, DivergenceSettings, without={"top"})
    parser.add_argument("--base", type=options.Model, required=True, help="pre-trained model: folder or hub id")
    parser.add_argument("--facts", type=Path, required=True, help="its mastery table")
    parser.add_argument("--templates", type=Path, required=True, help="the templates it was probed with")
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args()
    settings = options.settings(args, DivergenceSettings)
    facts = used.by_divergence(program.facts(args.facts, *COLUMNS))

    def compute(folder: Path) -> None:
        from sftlens.data import templates
        from sftlens.evaluation import divergence
        from sftlens.models import checkpoints

        tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
        base = checkpoints.load_model(args.base, device=args.device)
        chosen = divergence.select(base, tokenizer, facts, templates.load(args.templates), settings)
        table = divergence.of_base(base, tokenizer, chosen, settings)
        files.write_parquet(folder / "base.parquet", table)

    program.stage(
        args,
        "divergence_base",
        outputs={"base.parquet": args.out},
        inputs=program.contents(args, "base", "templates", facts=facts),
        settings={**settings.model_dump(exclude={"top", "batch_tokens"}), "bos": args.bos},
        compute=compute,
    )
