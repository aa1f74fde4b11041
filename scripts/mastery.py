"""Probe how well a model masters each fact (paper section 2).

  python scripts/mastery.py --model DIR --facts facts.parquet --templates T.yaml --out mastery.parquet

Adds the columns hits, trials, mastery, bucket and template_hits; a summary stands beside it (mastery.json).
With --import FILE an existing table (columns fact_id, hits, trials) is used instead of probing.
"""

from pathlib import Path
from typing import Any

import _cli
from sftlens import files, provenance
from sftlens.settings.probing import ProbingSettings


def main() -> None:
    parser = _cli.parser(__doc__, ProbingSettings)
    parser.add_argument("--model", type=Path, help="Hugging Face folder or base.json")
    parser.add_argument("--facts", type=Path, required=True, help="table of scripts/facts.py")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML)")
    parser.add_argument("--import", dest="table", type=Path, help="a finished mastery table to use")
    parser.add_argument("--bos", choices=["require", "none"], default="require", help="whether a BOS token is needed")
    parser.add_argument("--device", help="torch device, or auto: all GPUs (default: what there is)")
    parser.add_argument("--out", type=Path, required=True, help="mastery table (Parquet)")
    args = parser.parse_args()
    if args.table is None and (args.model is None or args.templates is None):
        parser.error("give --model and --templates, or --import")
    settings = _cli.settings(args, ProbingSettings)
    inputs = _cli.contents(args, "model", "facts", "templates", "table")

    def compute(folder: Path) -> None:
        table = _imported(args) if args.table else _probed(args, settings)
        files.write_parquet(folder / "mastery.parquet", table)
        from sftlens import mastery

        summary = provenance.summary(
            "mastery",
            settings={**settings.model_dump(), "bos": args.bos},
            inputs=inputs,
            fingerprint=args.fingerprint,
            metrics=mastery.counts(table),
        )
        files.write_json(folder / "mastery.json", summary)

    _cli.stage(
        args,
        "mastery",
        outputs={"mastery.parquet": args.out, "mastery.json": args.out.with_suffix(".json")},
        inputs=inputs,
        settings={**settings.model_dump(exclude={"batch_tokens"}), "bos": args.bos},
        compute=compute,
    )


def _imported(args: Any) -> Any:
    from sftlens import mastery_import

    facts = files.read_parquet(args.facts, ["fact_id", "split"])
    facts = facts[facts["split"] != "dev"].reset_index(drop=True)
    return mastery_import.join(facts, files.read_parquet(args.table), str(args.table))


def _probed(args: Any, settings: ProbingSettings) -> Any:
    from sftlens import checkpoints, mastery, progress, templates

    facts = files.read_parquet(args.facts, ["fact_id", "relation", "subject", "split"])
    # The paper never probes dev: it only serves to choose settings.
    facts = facts[facts["split"] != "dev"].reset_index(drop=True)
    sentences = templates.load(args.templates)
    templates.require(sentences, facts["relation"], args.templates)
    total = sum(len(sentences[relation]) for relation in facts["relation"])
    tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
    with progress.bar(description="probe", total=total, unit="prompt") as bar:
        model = checkpoints.load_model(args.model, device=args.device)
        return mastery.probe(model, tokenizer, facts, sentences, settings, bar.update)


if __name__ == "__main__":
    _cli.run(main)
