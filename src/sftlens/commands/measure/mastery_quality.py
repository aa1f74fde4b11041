"""Report how reliable a mastery measurement is: posteriors, test-retest, sources of variance, calibration.

  sftlens mastery-quality --model DIR --mastery mastery.parquet --templates T.yaml --out DIR

Writes summary.json (posterior of the buckets, variance by fact, template and sample, test-retest agreement) and
retest.parquet (one row a fact that was probed again); with --answer-probability also answer_probability.parquet. With
--exposures, which sftlens world writes, mastery is set against how often the corpus states a fact. Give the
templates and probing settings that the table was made with: the second probe takes the seed after theirs. Where
the table is that of an adaptive probe, the second probe is a full one: the two show how well adaptive probing agrees
with the fixed protocol.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.mastery import ADAPTIVE_FIELDS, MASTERY_FIELDS, ProbingSettings, QualitySettings
from sftlens.data import relations, tables
from sftlens.data.buckets import BUCKETS
from sftlens.runtime import progress, provenance


def main() -> None:
    parser = options.parser(
        __doc__, QualitySettings, ProbingSettings, without={"quota", "keep_texts", *ADAPTIVE_FIELDS}
    )
    parser.add_argument("--mastery", type=Path, required=True, help="table of sftlens mastery")
    parser.add_argument("--model", type=options.Model, help="as for sftlens mastery; not needed with --retest 0")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML) that the table was made with")
    parser.add_argument("--exposures", type=Path, help="exposures.parquet of the world that the facts are from")
    options.add_bos(parser)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of summary.json and retest.parquet")
    args = parser.parse_args()
    settings, probing = options.settings(args, QualitySettings), options.settings(args, ProbingSettings)
    if settings.tables and (args.model is None or args.templates is None):
        parser.error("give --model and --templates, or --retest 0 without --answer-probability")
    columns = ["split", "relation", "hits", "trials", "mastery", "bucket"]
    columns += ["subject"] if settings.tables else []  # what is asked again needs it
    adaptive = ["template_trials", *(f"posterior_{name}" for name in BUCKETS)]
    table = tables.used_by_quality(tables.facts(args.mastery, columns, ["subject", "template_hits", *adaptive]))
    inputs = program.contents(args, "model", "templates", "exposures", mastery=table)
    depends = {**settings.model_dump(), "probing": probing.model_dump(include=set(MASTERY_FIELDS)), "bos": args.bos}
    depends |= program.computing(args, args.model) if settings.tables else {}

    def compute(folder: Path) -> None:
        from sftlens.mastery.quality import exposure, posterior, variance

        if "template_trials" in table:
            metrics = posterior.metrics_of_buckets(table)
        else:
            columns = posterior.uncertainty(table["hits"].to_numpy(), table["trials"].to_numpy())
            metrics = posterior.metrics(table.assign(**columns))
            metrics += variance.metrics(table) if "template_hits" in table else []
        if args.exposures:
            exposures = tables.read(args.exposures, ["question", "role", "exposure"])
            metrics += exposure.metrics(exposure.joined(table, exposures))
        if settings.tables:  # the rest needs the model
            from sftlens.mastery.completions import Probe
            from sftlens.mastery.quality import answer_probability, retest
            from sftlens.models import checkpoints

            sentences = relations.first_templates(relations.load_templates(args.templates), probing.max_templates)
            relations.require_templates(sentences, table["relation"], args.templates)
            tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
            model = checkpoints.load_model(args.model, device=args.device, compute=args.compute_dtype)
            with progress.bar(description="probe again", unit="prompt") as bar:
                probe = Probe(model, tokenizer, sentences, probing, bar.update)
                if settings.retest:
                    again = retest.probe_again(probe, table, settings.retest)
                    files.write_parquet(folder / "retest.parquet", again)
                    metrics += retest.metrics(again)
                if settings.answer_probability:
                    found = answer_probability.probabilities(probe, table)
                    files.write_parquet(folder / "answer_probability.parquet", found)
                    both = (found["answer_probability"], table["mastery"])
                    metrics += answer_probability.calibration(*(values.to_numpy(dtype=float) for values in both))
        summary = provenance.summary("mastery_quality", settings=depends, inputs=inputs, metrics=metrics)
        files.write_json(folder / "summary.json", summary)

    outputs = {name: args.out / name for name in ("summary.json", *settings.tables)}
    program.stage(args, "mastery_quality", outputs, inputs, depends, compute)
