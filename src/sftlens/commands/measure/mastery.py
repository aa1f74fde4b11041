"""Measure how well a model knows each fact, by sampled completions (paper section 2).

  sftlens mastery --model DIR --facts facts.parquet --templates T.yaml --out mastery.parquet

Adds the columns hits, trials, mastery, bucket and template_hits, the 95 % interval of each fact (low, high) and the
posterior probabilities of its bucket (posterior_D0 .. posterior_D4); a summary stands beside it (mastery.json).
With --import FILE an existing table (columns fact_id, hits, trials) is used instead of probing.
With --method adaptive a fact is sampled only until its bucket is sure enough; the columns template_trials and
answer_probability tell what it was judged by (docs/mastery.md).
With --state DIR every sample is kept there: a killed probe continues where it stopped, and another probe of the same
model samples only what is new. With --processes N, N processes sample in parallel.
"""

import argparse
import re
import sys
import tempfile
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.cli import ENTRY
from sftlens.commands import options, program
from sftlens.config.stages.mastery import SPEED_FIELDS, ProbingSettings
from sftlens.data import relations, tables
from sftlens.errors import SftlensError
from sftlens.runtime import launch, progress, provenance
from sftlens.runtime.result_version import RESULT_VERSION

TABLE, SUMMARY, TEXTS = "mastery.parquet", "mastery.json", "mastery-texts.parquet"


def main() -> None:
    parser = options.parser(__doc__, ProbingSettings)
    parser.add_argument("--model", type=options.Model, help="model folder, .gguf file or hub id")
    parser.add_argument("--facts", type=Path, required=True, help="table of sftlens facts")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML)")
    parser.add_argument("--taught", type=Path, help="what the model was taught falsely (flawed.parquet)")
    parser.add_argument("--import", dest="table", type=Path, help="a finished mastery table to use")
    options.add_bos(parser)
    options.add_device(parser)
    needs = parser.add_argument("--quota-needs", nargs="+", type=_need, metavar="BUCKET=N")
    needs.help = "with --quota: the largest scale of each bucket that is trained on"
    parser.add_argument("--out", type=Path, required=True, help="mastery table (Parquet)")
    # For the processes that this program starts.
    parser.add_argument(launch.HELPER, type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--identity", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.table is None and (args.model is None or args.templates is None):
        parser.error("give --model and --templates, or --import")
    if (args.quota is None) != (args.quota_needs is None):
        parser.error("give --quota and --quota-needs together")
    settings = options.settings(args, ProbingSettings)
    if settings.processes > 1 and args.device:
        parser.error("--processes takes no --device: the processes share the GPUs, or all compute on CPUs (--gpus 0)")
    if args.helper:
        # What goes wrong here goes wrong, and is told, in the process that this one helps.
        with suppress(SftlensError), launch.worker():
            _probe(args, settings, args.identity, args.state, *_sentences(args))
        return
    used = {**settings.model_dump(), "bos": args.bos, "quota_needs": dict(args.quota_needs or [])}
    used |= program.computing(args, None if args.table else args.model)
    inputs = program.contents(args, "model", "templates", "table", facts=_facts(args))
    outputs = {TABLE: args.out, SUMMARY: args.out.with_suffix(".json")}
    if settings.keep_texts:
        outputs[TEXTS] = args.out.with_name(f"{args.out.stem}-texts.parquet")

    def compute(folder: Path) -> None:
        from sftlens.mastery import mastery_table, probe_shards, probing
        from sftlens.mastery.quality import posterior

        if args.table:
            probe_shards.write_texts(folder / TEXTS, [], [])  # a table that was made elsewhere comes without its texts
            table = tables.read(args.table, ["fact_id", "hits", "trials"], ["template_hits", "template_trials"])
            if "template_trials" in table:
                needed = ["fact_id", "hits", "trials", "template_hits", *mastery_table.ADAPTIVE]
                table = tables.read(args.table, needed)
            probed = probing.Probed(mastery_table.join_imported(_facts(args), table, str(args.table)), None, 0, 0)
        else:
            probed = _probe_with_helpers(args, settings, inputs["model"], folder)
        table = probed.table
        if "template_trials" not in table:  # an adaptive probe has intervals and posteriors of its own
            table = table.assign(**posterior.uncertainty(*(table[name].to_numpy() for name in ("hits", "trials"))))
        if args.taught:  # who asks the questions later takes the true answer, too
            own = zip(table["object"], table["aliases"], strict=True)
            table = table.assign(aliases=[list(dict.fromkeys([true, *names])) for true, names in own])
        files.write_parquet(folder / TABLE, table)
        metrics = mastery_table.counts(table[["split", "bucket"]], partly=("train",) if probed.quota else ())
        said = {}
        if probed.adaptive:
            metrics += probed.adaptive["metrics"]
            said = {"calibration": probed.adaptive["calibration"]}
        summary = provenance.summary(
            "mastery", settings=used, inputs=inputs, quota=probed.quota, metrics=metrics, **said
        )
        summary["run"] |= {"prompts": probed.prompts, "prompts_drawn": probed.sampled}
        files.write_json(folder / SUMMARY, summary)

    key = {name: value for name, value in used.items() if name not in SPEED_FIELDS}
    if settings.method == "adaptive":
        key["adaptive"] = RESULT_VERSION["adaptive"]
    program.stage(args, "mastery", outputs, inputs, key, compute)


def _need(text: str) -> tuple[str, int]:
    if not re.fullmatch(r"D[0-4]=[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give a bucket and its largest scale, such as D2=1920")
    bucket, number = text.split("=")
    return bucket, int(number)


def _facts(args: Any) -> Any:
    """Return the facts but for dev: the paper never probes it, it only serves to choose settings.

    What --taught says of a fact is what its mastery is measured by.
    """
    facts = tables.facts(args.facts, [] if args.table else ["relation", "subject"], ["split"], rest=True)
    facts = facts if "split" in facts else facts.assign(split="test")
    facts = facts[facts["split"] != "dev"].reset_index(drop=True)
    if args.taught:
        taught = tables.read(args.taught, ["question", "taught"]).set_index("question")["taught"].to_dict()
        own = zip(facts["question"], facts["aliases"], strict=True)
        facts["aliases"] = [[taught[question]] if question in taught else names for question, names in own]
    return facts


def _sentences(args: Any) -> tuple[Any, Any]:
    """Return the facts and the sentences to probe them with."""
    facts, sentences = _facts(args), relations.load_templates(args.templates)
    relations.require_templates(sentences, facts["relation"], args.templates)
    return facts, sentences


def _probe_with_helpers(args: Any, settings: ProbingSettings, model: str, folder: Path) -> Any:
    """Probe, with helpers where there are to be several processes."""
    texts = folder / TEXTS if settings.keep_texts else None
    with tempfile.TemporaryDirectory(prefix="sftlens-probe-") as temporary, ExitStack() as stack:
        state = args.state or Path(temporary)
        if settings.processes > 1:
            # To hash a large model takes minutes: once is enough.
            arguments = [*sys.argv[1:], "--state", str(state), "--identity", model]
            arguments += ["--compute-dtype", args.compute_dtype]
            stack.enter_context(launch.helped(ENTRY, ["mastery", *arguments], settings.processes))
        facts, sentences = _sentences(args)
        total = sum(len(sentences[relation][: settings.max_templates]) for relation in facts["relation"])
        bar = stack.enter_context(progress.bar(description="probe", total=total, unit="prompt"))
        return _probe(args, settings, model, state, facts, sentences, texts=texts, progress=bar.update)


def _probe(
    args: Any, settings: ProbingSettings, model: str, state: Path, facts: Any, sentences: Any, **options: Any
) -> Any:
    from sftlens.mastery import probing
    from sftlens.models import checkpoints

    @cache
    def load() -> Any:
        tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
        return checkpoints.load_model(args.model, device=args.device, compute=args.compute_dtype), tokenizer

    source = {"model": model, "bos": args.bos}
    source |= {} if args.compute_dtype == "stored" else {"compute_dtype": args.compute_dtype}
    prober = probing.Prober(load, source, sentences, settings, state)
    worker = probing.Worker(args.helper, settings.processes)
    return probing.probe(facts, prober, needs=dict(args.quota_needs or []), worker=worker, **options)
