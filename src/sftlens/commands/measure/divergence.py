"""Measure how far a fine-tuned model's first predicted token diverges from its base's (paper section 5).

  python scripts/divergence.py --base DIR --finetuned DIR --facts mastery.parquet \\
      --templates T.yaml --out DIR

Writes kl.parquet (one row a fact) and summary.json. Facts: test facts of bucket D4 whose answer comes near
the beginning of the base model's completion; the number kept is in the summary.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import program
from sftlens.config.divergence import DivergenceSettings
from sftlens.data import used
from sftlens.runtime import provenance


def main() -> None:
    parser = program.parser(__doc__, DivergenceSettings)
    parser.add_argument("--base", type=Path, required=True, help="pre-trained model: folder or base.json")
    parser.add_argument("--finetuned", type=Path, required=True, help="fine-tuned model (the base itself for n = 0)")
    parser.add_argument("--facts", type=Path, required=True, help="mastery table of the base model")
    parser.add_argument("--templates", type=Path, required=True, help="the templates it was probed with")
    parser.add_argument("--bos", choices=["require", "none"], default="require", help="whether a BOS token is needed")
    program.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of kl.parquet and summary.json")
    args = parser.parse_args()
    settings = program.settings(args, DivergenceSettings)
    facts = used.by_divergence(program.facts(args.facts, "split", "relation", "subject", "bucket", "template_hits"))
    inputs = program.contents(args, "base", "finetuned", "templates", facts=facts)

    def compute(folder: Path) -> None:
        from sftlens.data import templates
        from sftlens.evaluation import divergence
        from sftlens.models import checkpoints

        tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
        base = finetuned = checkpoints.load_model(args.base, device=args.device)
        if not checkpoints.resolve(args.finetuned).samefile(checkpoints.resolve(args.base)):
            finetuned = checkpoints.load_model(args.finetuned, device=args.device)
        chosen = divergence.select(base, tokenizer, facts, templates.load(args.templates), settings)
        table = divergence.measure(base, finetuned, tokenizer, chosen, settings)
        files.write_parquet(folder / "kl.parquet", table)
        summary = provenance.summary(
            "divergence",
            settings=settings.model_dump(),
            inputs=inputs,
            candidates=len(chosen),
            kept=len(table),
            metrics=divergence.metrics(table, len(chosen)),
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
