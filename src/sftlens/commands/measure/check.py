"""Measure what fine-tuning cost: knowledge, format, tasks, KL, and a verdict with an exit status (docs/check.md).

    sftlens check BASE TUNED
    sftlens check BASE TUNED --facts facts.csv --task task.jsonl=5 --fail-if-lost 2 --out check

BASE and TUNED are Hugging Face folders, hub ids, or, TUNED, a LoRA adapter; they are only read, one after the other.
Without --facts the question set that comes with sftlens is asked: 50 facts of each of 24 relations. With it, facts of
your own (columns question, and answers or answer), or PopQA, TriviaQA, SimpleQA, SQuAD or BEAR as published.

The verdict is on knowledge: `kept` where the whole 95 % interval of the change lies above minus POINTS, `lost` where it
lies below, else `too little evidence`. With --fail-if-lost POINTS the exit status is 0, 2 or 3 accordingly, and every
task counts with its own tolerance. DIR gets report.json, report.html and answers.csv (each question, both answers).
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from sftlens import files, gate
from sftlens.commands import asking, headline, options, program
from sftlens.config.check import LOST_POINTS, MOST_LOGITS, MOST_TOKENS, OF_REPAIR, TASK_POINTS, CheckSettings
from sftlens.data import relations, tables
from sftlens.data.question_sets import shipped
from sftlens.errors import ConfigError
from sftlens.gate import printable
from sftlens.models import adapter_config, adapters, identity
from sftlens.repair import fewshot_mastery, user_files
from sftlens.runtime import progress, provenance
from sftlens.runtime.result_version import RESULT_VERSION

REPORT, PAGE, ANSWERS = "report.json", "report.html", "answers.csv"


def main() -> None:
    parser = options.parser(__doc__, CheckSettings, without=OF_REPAIR)
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("tuned", type=options.Model, help="model fine-tuned from it, or a LoRA adapter of it")
    parser.add_argument("--facts", type=Path, help="questions and answers (default: the set that comes with sftlens)")
    text = f"examples of a task, and the points of its score that may be lost (default: {TASK_POINTS:g}); repeatable"
    parser.add_argument("--task", action="append", default=[], metavar="[NAME:]FILE[=POINTS]", help=text)
    parser.add_argument("--templates", type=Path, help="completion templates, for facts with relation and subject")
    asking.add(parser)
    text = f"exit with 2 where more is lost, 3 on too little evidence (without it the verdict is on {LOST_POINTS:g})"
    parser.add_argument("--fail-if-lost", type=float, metavar="POINTS", help=text)
    parser.add_argument("--device", help="torch device, or auto: all GPUs (default: what there is)")
    options.add_compute_dtype(parser)
    parser.add_argument("--out", type=Path, help=f"folder of {REPORT}, {PAGE} and {ANSWERS} (default: terminal only)")
    args = parser.parse_args()
    settings = options.settings(args, CheckSettings)
    points = LOST_POINTS if args.fail_if_lost is None else args.fail_if_lost
    if not 0 <= points <= 100:
        raise ConfigError(f"--fail-if-lost {points:g}: give points from 0 to 100")

    # All that can be refused without a model is refused first.
    folders = [identity.resolve(args.base), identity.resolve(args.tuned)]
    if adapters.is_adapter(folders[0]):
        raise ConfigError(f"{args.base}: is an adapter, no base model; give the base first, then the adapter")
    program.refuse_same(folders[0], folders[1])
    outputs = (REPORT, PAGE, ANSWERS)
    there = args.out.iterdir() if args.out and args.out.is_dir() else ()
    if any(path.name not in outputs and not path.name.startswith(".") for path in there):
        raise ConfigError(f"--out {args.out}: holds files that were not made here; choose a new or empty folder")
    asked = asking.settings(args)
    sentences = relations.load_templates(args.templates) if args.templates else None
    facts = user_files.read_facts(args.facts or shipped.FILE, sentences or ())
    if settings.most_facts:
        facts = tables.fixed_sample(facts, settings.most_facts)
    if sentences is None:
        fewshot_mastery.check(len(facts), settings.few_shot)
    facts["half"] = [user_files.half_of(name) for name in facts["fact_id"]]
    tasks, tolerances = _tasks(args.task, asked["template"])

    from sftlens.diagnosis import effects, page, screen
    from sftlens.models.loading import placement
    from sftlens.repair import measurements, models, prompting, search, wording

    with tempfile.TemporaryDirectory(prefix="sftlens-check-") as scratch:
        tuned = args.tuned
        if adapters.is_adapter(folders[1]):
            _say("merging the adapter into the base")
            adapters.merge(args.base, args.tuned, tuned := Path(scratch) / "merged")
        elif models.same_weights(*folders):
            raise ConfigError(f"{args.tuned}: holds the same weights as {args.base}; give the model tuned from it")
        computing = program.computing(args, args.base, tuned)
        loaded = models.RepairModels(args.base, tuned, settings, args.device, args.compute_dtype)
        prompts = asking.made(asked, loaded.tokenizer(models.FINETUNED), loaded.folders[models.FINETUNED])
        prompts.check([] if tasks is None else tasks["prompt"].tolist())
        if not settings.batch_tokens:
            on_cpu = placement.device_map(args.device) is None
            fit = MOST_LOGITS // loaded.vocabulary() if on_cpu else MOST_TOKENS
            settings = settings.model_copy(update={"batch_tokens": min(MOST_TOKENS, fit)})
        given = prompting.RepairInputs(facts, tasks, prompts, sentences, settings)
        # What is kept is kept by content. Without --state nothing is, and no model need be read for its hash.
        contents = {models.BASE: folders[0], models.FINETUNED: tuned}
        identities = {key: identity.identity(path) if args.state else key for key, path in contents.items()}
        with progress.bar(description="check", unit="prompt") as bar:
            state = args.state or Path(scratch) / "state"
            measured = measurements.Measurements(loaded, given, identities, state, _say, bar, draws="check")
            seen = search.diagnose(measured, points / 100, tolerances, floor_facts=settings.floor_facts)
    about = _about(args, seen, tasks)
    print(printable(screen.text(seen, about)))
    if args.out:
        described = wording.how_measured(given)
        args.out.mkdir(parents=True, exist_ok=True)
        files.write_text(args.out / ANSWERS, gate.csv_text(page.answers(seen)))
        page.write(args.out / PAGE, seen, about, described)
        limit = user_files.longest(tasks, settings.task_max_new_tokens)
        used = {
            "compared": about,
            **asked,
            **settings.model_dump(exclude=OF_REPAIR),
            "task_max_new_tokens": limit,
            **computing,
        }
        inputs = program.contents(args, "templates", facts=facts)
        summary = {"stage": "check", "result_version": RESULT_VERSION["check"], "settings": used, "inputs": inputs}
        summary |= {"outcome": seen.outcome, **seen.metrics(), "measured": described}
        files.write_json(args.out / REPORT, {**summary, "run": provenance.circumstances()})
        headline.say("check", [args.out / name for name in outputs])
    if args.fail_if_lost is not None:
        sys.exit(effects.EXIT_STATUS[seen.outcome])


def _tasks(given: list[str], template: str | None) -> tuple[Any, dict[str, float]]:
    """Return the examples of all --task, with the column task, and each task's tolerance, a share; None without any."""
    import pandas as pd

    tables, tolerances = [], {}
    for text in given:
        file, _, points = text.rpartition("=")
        if not file or Path(text).expanduser().exists():
            file, points = text, f"{TASK_POINTS}"
        try:
            tolerance = float(points) / 100
        except ValueError:
            raise ConfigError(f"--task {text}: {points!r} is no number of points; write FILE=POINTS") from None
        form, path = user_files.task_file(file)
        if path.name in tolerances:
            raise ConfigError(f"--task {text}: two files are called {path.name}; rename one")
        tolerances[path.name] = tolerance
        task = user_files.read_task(path, form, template)
        tables.append(task.assign(task=path.name, task_id=f"{path.name}/" + task["task_id"]))
    return (pd.concat(tables, ignore_index=True) if tables else None), tolerances


def _about(args: argparse.Namespace, seen: Any, tasks: Any) -> list[str]:
    """Return in lines what was compared."""
    source = args.facts or "the question set of sftlens"
    asked = f"{len(seen.facts):,} facts ({source})"
    if tasks is not None:
        named = tasks["task"].nunique()
        asked += f", {len(tasks):,} examples of {named} task{'s' if named > 1 else ''}"
    asked += "" if args.compute_dtype == "stored" else f"; computed in {args.compute_dtype}"
    about = [f"base {args.base}, tuned {args.tuned}", asked]
    if adapters.is_adapter(folder := identity.resolve(args.tuned)):
        about.insert(1, f"tuned is {adapter_config.origin(folder, args.base)}")
    return about


def _say(text: str) -> None:
    print(f"check: {text}", file=sys.stderr)
