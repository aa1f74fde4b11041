"""Measure how far a fine-tuned model's first predicted token diverges from its base's (paper section 5).

  sftlens divergence --base DIR --finetuned DIR --facts mastery.parquet \\
      --templates T.yaml --out DIR
  sftlens divergence --base DIR --finetuned DIR --of-base base.parquet --out DIR

Writes kl.parquet (one row a fact) and summary.json. Facts: test facts of bucket D4 whose answer comes near
the beginning of the base model's completion; the number kept is in the summary. What only the base model is needed for
can be computed once for all its fine-tuned models (sftlens divergence-base).
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.data import used
from sftlens.errors import ConfigError
from sftlens.runtime import provenance

COLUMNS = ("split", "relation", "subject", "bucket", "template_hits")
"""What is needed of each fact besides its question."""


def main() -> None:
    parser = options.parser(__doc__, DivergenceSettings)
    parser.add_argument("--base", type=options.Model, required=True, help="pre-trained model: folder or hub id")
    parser.add_argument("--finetuned", type=options.Model, required=True, help="fine-tuned model (for n = 0 the base)")
    parser.add_argument("--facts", type=Path, help="mastery table of the base model")
    parser.add_argument("--templates", type=Path, help="the templates it was probed with")
    parser.add_argument("--of-base", type=Path, help="what divergence_base wrote, in place of --facts and --templates")
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of kl.parquet and summary.json")
    args = parser.parse_args()
    settings = options.settings(args, DivergenceSettings)
    if bool(args.of_base) == bool(args.facts and args.templates):
        raise ConfigError("give either --of-base, or both --facts and --templates; see --help")
    facts = None if args.of_base else used.by_divergence(program.facts(args.facts, *COLUMNS))
    inputs = program.contents(args, "base", "finetuned", "templates", "of_base", facts=facts)

    def compute(folder: Path) -> None:
        from sftlens.data import templates
        from sftlens.evaluation import divergence
        from sftlens.models import checkpoints

        tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
        if facts is None:
            of_base = files.read_parquet(args.of_base, divergence.COLUMNS)
        else:
            base = checkpoints.load_model(args.base, device=args.device)
            chosen = divergence.select(base, tokenizer, facts, templates.load(args.templates), settings)
            of_base = divergence.of_base(base, tokenizer, chosen, settings)
            del base, chosen  # one model at a time
        finetuned = checkpoints.load_model(args.finetuned, device=args.device)
        table = divergence.measure(finetuned, tokenizer, of_base, settings)
        files.write_parquet(folder / "kl.parquet", table)
        summary = provenance.summary(
            "divergence",
            settings=settings.model_dump(),
            inputs=inputs,
            candidates=len(of_base),
            kept=len(table),
            metrics=divergence.metrics(table, len(of_base)),
        )
        files.write_json(folder / "summary.json", summary)

    program.stage(
        args,
        "divergence",
        outputs={name: args.out / name for name in ("kl.parquet", "summary.json")},
        inputs=inputs,
        settings={**settings.model_dump(exclude={"batch_tokens"}), "bos": args.bos},
        compute=compute,
    )
