"""Ask a model every question and judge its answers (paper section 4).

  sftlens evaluate --model DIR --facts mastery.parquet --out DIR
  sftlens evaluate --model DIR --facts mastery.parquet --train order.parquet --scale 240 --out DIR

Writes answers.parquet (one row a question: the output and what is judged of it) and summary.json (accuracy per split,
bucket and relation, macro). Asked are the facts of the splits test and testood; with --train also the training set
itself, as split `train`. With --templates the mastery of a fixed sample of the test facts is also measured again
(column reprobed_mastery). Without --train and --shots, the majority baseline of each relation stands beside.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.runtime import provenance


def main() -> None:
    parser = options.parser(__doc__, EvaluationSettings)
    parser.add_argument("--model", type=options.Model, required=True, help="Hugging Face folder, base.json or hub id")
    parser.add_argument("--facts", type=Path, required=True, help="facts, with mastery buckets or without")
    parser.add_argument("--shots", type=int, default=0, help="solved train examples before each question (default: 0)")
    options.add_measuring(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of answers.parquet and summary.json")
    args = parser.parse_args()
    settings = options.settings(args, EvaluationSettings)
    facts, train = program.asked(args)
    inputs = program.contents(args, "model", "templates", facts=facts, train=train)
    depends = {**settings.model_dump(), **{name: getattr(args, name) for name in ("bos", "scale", "shots")}}
    depends |= program.reprobing_settings(args)

    def compute(folder: Path) -> None:
        from sftlens.evaluation import baselines, suite
        from sftlens.models import checkpoints
        from sftlens.runtime import progress

        tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
        with progress.bar(description="evaluate", unit="question") as bar:
            metrics = suite.measure(
                folder,
                checkpoints.load_model(args.model, device=args.device),
                tokenizer,
                facts,
                train,
                settings,
                shots=args.shots,
                reprobing_as=program.reprobing(args, inputs["model"]),
                progress=bar.update,
            )
        # It depends on the facts alone: once a model, at n = 0, is enough.
        metrics += [] if args.train or args.shots else baselines.rows(facts)
        summary = provenance.summary("evaluate", settings=depends, inputs=inputs, metrics=metrics)
        files.write_json(folder / "summary.json", summary)

    program.stage(
        args,
        "evaluate",
        outputs={name: args.out / name for name in ("answers.parquet", "summary.json")},
        inputs=inputs,
        settings={name: value for name, value in depends.items() if name != "batch_tokens"},
        compute=compute,
    )
