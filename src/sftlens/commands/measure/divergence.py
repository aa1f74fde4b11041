"""Measure how far a fine-tuned model's first predicted token diverges from its base's (paper section 5).

  sftlens divergence --base DIR --finetuned DIR --facts mastery.parquet \\
      --templates T.yaml --out DIR
  sftlens divergence --base DIR --finetuned DIR --of-base base.parquet --out DIR

Writes kl.parquet (one row a fact) and summary.json. Facts: test facts of bucket D4 whose answer comes near
the beginning of the base model's completion; the number kept is in the summary. The base model's half can be computed
once for all models fine-tuned from it (sftlens divergence-base).
"""

from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import options, program
from sftlens.commands.measure import divergence_base
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.errors import ConfigError
from sftlens.runtime import provenance


def main() -> None:
    parser = options.parser(__doc__, DivergenceSettings)
    parser.add_argument("--base", type=options.Model, required=True, help="pre-trained model: folder or hub id")
    parser.add_argument("--finetuned", type=options.Model, required=True, help="fine-tuned model (for n = 0 the base)")
    parser.add_argument("--facts", type=Path, help="mastery table of the base model")
    parser.add_argument("--templates", type=Path, help="the templates it was probed with")
    text = "what sftlens divergence-base wrote, in place of --facts and --templates"
    parser.add_argument("--of-base", type=Path, help=text)
    divergence_base.add_max_templates(parser)
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of kl.parquet and summary.json")
    args = parser.parse_args()
    settings = options.settings(args, DivergenceSettings)
    if bool(args.of_base) == bool(args.facts and args.templates):
        raise ConfigError("give either --of-base, or both --facts and --templates; see --help")
    facts = None if args.of_base else divergence_base.read_facts(args.facts)
    inputs = program.contents(args, "base", "finetuned", "templates", "of_base", facts=facts)

    used = {**settings.model_dump(), **program.computing(args, args.finetuned, None if args.of_base else args.base)}

    def compute(folder: Path) -> None:
        from sftlens.evaluation import divergence
        from sftlens.inference import prompts
        from sftlens.models import checkpoints

        if facts is None:
            of_base = files.read_parquet(args.of_base, divergence.COLUMNS)
        else:  # the base is let go before the fine-tuned model is loaded
            of_base = divergence_base.half_of_base(args, facts, settings)
        finetuned = checkpoints.load_model(args.finetuned, device=args.device, compute=args.compute_dtype)
        tokenizer = checkpoints.load_tokenizer(args.base, args.bos)
        table = divergence.measure(finetuned, tokenizer, of_base, settings)
        files.write_parquet(folder / "kl.parquet", table)
        counts: dict[str, Any] = {"candidates": len(of_base), "kept": len(table)}
        counts["metrics"] = divergence.metrics(table, len(of_base))
        if note := prompts.bos_note(tokenizer):
            counts["bos"] = note
        summary = provenance.summary("divergence", settings=used, inputs=inputs, **counts)
        files.write_json(folder / "summary.json", summary)

    outputs = {name: args.out / name for name in ("kl.parquet", "summary.json")}
    key = {name: value for name, value in used.items() if name != "batch_tokens"}
    key |= {"bos": args.bos, **divergence_base.first_templates(args)}
    program.stage(args, "divergence", outputs, inputs, key, compute)
