"""Measure what fine-tuning cost a model of yours, and restore what can be restored (docs/repair.md).

    sftlens repair BASE FINETUNED --facts facts.csv --task task.jsonl --out DIR
    sftlens repair BASE ADAPTER --facts facts.jsonl --chat-template --out DIR

BASE and FINETUNED are Hugging Face folders, FINETUNED may be a LoRA adapter; they are only read. The facts are
questions with answers (columns question, and answers or answer; .csv or .jsonl), the task is examples of what the model
was fine-tuned for (lines of JSON: prompt and target, or messages). Every --ratio is tried with every --criterion; a
setting is chosen on one half of the facts and of the examples and reported on the other.

DIR gets report.html, report.json, tradeoff.csv, tradeoff.png, answers.csv, and model/: the repaired model with its
card, or only a README.md that says that no setting beats leaving the fine-tuned model alone. Finished measurements are
kept in --state (default: .DIR.state beside DIR): run the same command again after an interruption.
"""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any, get_args

from sftlens import __version__
from sftlens.commands import asking, options, program
from sftlens.config.repair import RepairSettings
from sftlens.data import relations
from sftlens.errors import ConfigError
from sftlens.files import read_json
from sftlens.gate import printable
from sftlens.models import adapter_config, adapters, identity
from sftlens.repair import fewshot_mastery, output, user_files
from sftlens.restoration import cards
from sftlens.restoration.methods import choices
from sftlens.runtime import progress, stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage


def main() -> None:
    parser = options.parser(__doc__, RepairSettings, without={"ratios", "criteria", "regions", "save_as"})
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, help="model fine-tuned from it, or a LoRA adapter of it")
    parser.add_argument("--facts", type=Path, required=True, help="questions and answers, .csv or .jsonl")
    text = "examples of the task, .jsonl, also xsum:FILE or gsm8k:FILE (default: well-formed answers)"
    parser.add_argument("--task", metavar="[NAME:]FILE", help=text)
    parser.add_argument("--templates", type=Path, help="completion templates, for facts with relation and subject")
    asking.add(parser)
    of_region = "transformer, attention, mlp, query_key, embedding, all, layersA-B, or blocks: four ranges of layers; "
    listed = (("ratio", "ratios", float), ("criterion", "criteria", str), ("region", "regions", str))
    for name, key, kind in listed:
        text = {"ratio": "", "criterion": f"one of {', '.join(choices())}; ", "region": of_region}[name]
        text += f"repeatable (default: {', '.join(map(str, RepairSettings.model_fields[key].default))})"
        parser.add_argument(f"--{name}", dest=key, type=kind, action="append", metavar=name.upper(), help=text)
    text = "how the repaired model is written: whole, as its exact difference from the base, or as a LoRA adapter"
    parser.add_argument("--as", dest="save_as", choices=get_args(RepairSettings.model_fields["save_as"].annotation),
                        help=f"{text} (default: model)")  # fmt: skip
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    args = parser.parse_args()
    settings = options.settings(args, RepairSettings)

    # All that can be refused without a model is refused first.
    folders = [identity.resolve(args.base), identity.resolve(args.finetuned)]
    if adapters.is_adapter(folders[0]):
        raise ConfigError(f"{args.base}: is an adapter, no base model; give the base first, then the adapter")
    program.refuse_same(folders[0], folders[1])
    output.check(args.out, folders)
    asked = asking.settings(args)
    sentences = relations.load_templates(args.templates) if args.templates else None
    facts = user_files.read_facts(args.facts, sentences or ())
    facts["half"] = user_files.halves(facts["fact_id"], str(args.facts), "facts")
    if not sentences:
        fewshot_mastery.check(len(facts), settings.few_shot)
    tasks = None
    if args.task:
        form, args.task = user_files.task_file(args.task)
        tasks = user_files.read_task(args.task, form, asked["template"])
        tasks["task"] = args.task.name
        tasks["half"] = user_files.halves(tasks["task_id"], str(args.task), "examples")
    inputs = {**program.contents(args, "facts", "task", "templates"), "base": identity.identity(folders[0])}
    state = args.state or args.out.resolve().with_name(f".{args.out.resolve().name}.state")

    shown: list[str] = []

    def compute(folder: Path) -> None:
        from sftlens.diagnosis import screen
        from sftlens.repair import measurements, models, prompting, search, wording

        finetuned = _finetuned(args, state, inputs)
        computing = program.computing(args, args.base, finetuned)
        loaded = models.RepairModels(args.base, finetuned, settings, args.device, args.compute_dtype)
        loaded.check()
        tokenizer = loaded.tokenizer(models.FINETUNED)
        prompts = asking.made(asked, tokenizer, loaded.folders[models.FINETUNED])
        prompts.check([] if tasks is None else tasks["prompt"].tolist())
        given = prompting.RepairInputs(facts, tasks, prompts, sentences, settings)
        identities = {models.BASE: inputs["base"], models.FINETUNED: inputs["finetuned"]}
        with progress.bar(description="repair", unit="prompt") as bar:
            measured = measurements.Measurements(loaded, given, identities, state, _say, bar)
            about = [f"base {args.base}, tuned {args.finetuned}", f"{len(facts):,} facts ({args.facts})"]
            repair = search.search(measured, lambda found: print(screen.text(found, about), flush=True))
        _say("writing the report" + (" and the repaired model" if repair.written else ""))
        limit = user_files.longest(tasks, settings.task_max_new_tokens)
        used = {**settings.model_dump(), "task_max_new_tokens": limit, **asked, **computing}
        tuned, base = identity.resolve(args.finetuned), cards.name_of(args.base)
        adapted = adapter_config.origin(tuned, base) if adapters.is_adapter(tuned) else ""
        names = {"base": base, "fine-tuned model": adapted or cards.name_of(args.finetuned)}
        names["made"] = f"{date.today()}, sftlens {__version__}"
        output.write(folder, repair, loaded, inputs=inputs, settings=used, names=names, final=args.out)
        shown.extend(wording.table(repair))

    outputs = {name: args.out / name for name in output.OUTPUTS}
    program.run_stage(args, Stage("repair", outputs), compute)
    outcome: dict[str, Any] = read_json(args.out / output.REPORT)["outcome"]
    model = f"; model: {args.out / output.MODEL}" if outcome["written"] else ""
    said = [*shown, "", outcome["sentence"], *([outcome["stored"]] if outcome["stored"] else [])]
    print(printable("\n".join(said)) + f"\nreport: {args.out / output.PAGE}{model}")


def _finetuned(args: argparse.Namespace, state: Path, inputs: dict[str, str]) -> Path:
    """Return the folder of the fine-tuned model, its content recorded in `inputs`; an adapter is merged once."""
    given: Path = args.finetuned
    if not adapters.is_adapter(identity.resolve(given)):
        inputs["finetuned"] = identity.identity(given)
        program.refuse_same(args.base, given, inputs)
        return given
    inputs["adapter"] = identity.identity(given)
    depends = {"base": inputs["base"], "adapter": inputs["adapter"], "version": RESULT_VERSION["merge"]}

    def merge(folder: Path) -> None:
        adapters.merge(args.base, given, folder / "model")
        identity.write_manifest(folder / "model")

    stage = Stage("merge", {}, depends, state)
    if stages.finished(stage) is None:
        _say("merging the adapter into the base")
    stages.run(stage, merge)
    done = stages.finished(stage)
    assert done
    inputs["finetuned"] = identity.identity(done / "model")
    return done / "model"


def _say(text: str) -> None:
    print(f"repair: {text}", file=sys.stderr)
