"""Find out what fine-tuning cost a model of yours, and give back what can be given back (docs/repair.md).

    sftlens repair BASE FINETUNED --facts facts.csv --task task.jsonl --out DIR
    sftlens repair BASE ADAPTER --facts facts.jsonl --chat-template --out DIR

BASE and FINETUNED are Hugging Face folders, FINETUNED may be a LoRA adapter; they are only read. The facts are
questions with answers (columns question, and answers or answer; .csv or .jsonl), the task is examples of what the model
was fine-tuned for (lines of JSON: prompt and target, or messages). Every --ratio is tried with every --criterion; a
setting is chosen on one half of the facts and of the examples and reported on the other.

DIR gets report.html, report.json, tradeoff.csv, tradeoff.png, answers.csv, and model/: the repaired model with its
card, or only a README.md that says that no setting beats leaving the fine-tuned model alone. Finished measurements are
kept in --state (default: .DIR.state beside DIR): call the same command again after an interruption.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from sftlens.commands import options, program
from sftlens.config.repair import RepairSettings
from sftlens.errors import ConfigError
from sftlens.models import adapters, identity
from sftlens.repair.inputs import fact_files, halves
from sftlens.repair.report import output
from sftlens.restoration.methods import choices
from sftlens.runtime import stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = options.parser(__doc__, RepairSettings, without={"ratios", "criteria"})
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, help="model fine-tuned from it, or a LoRA adapter of it")
    parser.add_argument("--facts", type=Path, required=True, help="questions and answers, .csv or .jsonl")
    parser.add_argument("--task", type=Path, help="examples of the task, .jsonl (default: well-formed answers)")
    parser.add_argument("--templates", type=Path, help="completion templates, for facts with relation and subject")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--chat-template", action="store_true", help="ask with the fine-tuned tokenizer's chat template")
    how.add_argument("--prompt-template", help=r"ask with this text (default: 'Question: {question}\nAnswer:')")
    for name, key, kind in (("ratio", "ratios", float), ("criterion", "criteria", str)):
        text = "" if kind is float else f"one of {', '.join(choices())}; "
        text += f"repeatable (default: {', '.join(map(str, RepairSettings.model_fields[key].default))})"
        parser.add_argument(f"--{name}", dest=key, type=kind, action="append", metavar=name.upper(), help=text)
    options.add_device(parser)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    return parser.parse_args()


class Job:
    """One call of this script; all that can be checked without a model is checked when it is made."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Read facts and task. Raises ConfigError, DataError, ModelError."""
        from sftlens.data import templates
        from sftlens.repair.inputs import chat, task_files
        from sftlens.repair.measure import fewshot_mastery

        self.args, self.settings = args, options.settings(args, RepairSettings)
        self.state: Path = args.state or args.out.resolve().with_name(f".{args.out.resolve().name}.state")
        folders = [identity.resolve(args.base), identity.resolve(args.finetuned)]
        if adapters.is_adapter(folders[0]):
            raise ConfigError(f"{args.base}: is an adapter, no base model; give the base first, then the adapter")
        program.refuse_same(folders[0], folders[1])
        output.check(args.out, folders)
        template = chat.read_template(args.prompt_template or chat.QUESTION_ANSWER)
        self.template = None if args.chat_template else template
        self.sentences = templates.load(args.templates) if args.templates else None
        self.facts = fact_files.read(args.facts, self.sentences or ())
        self.facts["half"] = halves.split(self.facts["fact_id"], str(args.facts), "facts")
        if not self.sentences:
            fewshot_mastery.check(len(self.facts), self.settings.few_shot)
        self.tasks = task_files.read(args.task) if args.task else None
        if self.tasks is not None:
            self.tasks["half"] = halves.split(self.tasks["task_id"], str(args.task), "examples")
        self.inputs = {**program.contents(args, "facts", "task", "templates"), "base": identity.identity(folders[0])}

    def finetuned(self) -> Path:
        """Return the folder of the fine-tuned model; an adapter is merged into its base once."""
        folder: Path = self.args.finetuned
        if not adapters.is_adapter(identity.resolve(folder)):
            self.inputs["finetuned"] = identity.identity(folder)
            program.refuse_same(self.args.base, folder, self.inputs)
            return folder
        self.inputs["adapter"] = identity.identity(folder)
        depends = {
            **{name: self.inputs[name] for name in ("base", "adapter")},
            "version": RESULT_VERSION["merge"],
        }
        stage = Stage("merge", {}, depends, self.state)
        if stages.finished(stage) is None:
            _say("merging the adapter into the base")
        stages.run(stage, lambda work: _merge(self.args.base, folder, work / "model"))
        done = stages.finished(stage)
        assert done
        self.inputs["finetuned"] = identity.identity(done / "model")
        return done / "model"

    def compute(self, out: Path) -> None:
        """Fill the folder `out`."""
        from sftlens.repair import search
        from sftlens.repair.inputs import chat
        from sftlens.repair.measure import measurer, models
        from sftlens.runtime import progress

        found = models.Models(self.args.base, self.finetuned(), self.settings, self.args.device)
        folder = found.folders[models.FINETUNED]
        asking = chat.Prompting(self.template, found.tokenizer(models.FINETUNED), folder)
        asking.check([] if self.tasks is None else self.tasks["prompt"].tolist())
        asked = measurer.Asked(self.facts, self.tasks, asking, self.sentences, self.settings)
        identities = {models.BASE: self.inputs["base"], models.FINETUNED: self.inputs["finetuned"]}
        with progress.bar(description="repair", unit="prompt") as bar:
            how = {"say": _say, "progress": bar.update}
            repair = search.find(measurer.Measurer(found, asked, identities, self.state, **how))
        _say("writing the report" + (" and the repaired model" if repair.chosen else ""))
        settings = {**self.settings.model_dump(), "template": self.template, "chat_template": self.args.chat_template}
        output.write(out, repair, found.methods, inputs=self.inputs, settings=settings)

    def run(self) -> None:
        """Measure, choose, write, and say what came out."""
        output.clear_leavings(self.args.out)
        outputs = {name: self.args.out / name for name in output.OUTPUTS}
        program.run_stage(self.args, Stage("repair", outputs), self.compute)
        from sftlens.files import read_json

        outcome: dict[str, Any] = read_json(self.args.out / output.REPORT)["outcome"]
        print(outcome["sentence"])
        print(
            f"report: {self.args.out / output.PAGE}"
            + (f"; model: {self.args.out / 'model'}" if outcome["written"] else "")
        )


def _merge(base: Path, adapter: Path, out: Path) -> None:
    adapters.merge(base, adapter, out)
    identity.write_manifest(out)


def _say(text: str) -> None:
    print(f"repair: {text}", file=sys.stderr)


def main() -> None:
    """Repair one model."""
    Job(arguments()).run()
