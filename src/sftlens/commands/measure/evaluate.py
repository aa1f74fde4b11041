"""Score a model's answers to questions: accuracy by split, mastery bucket and relation (paper section 4).

  sftlens evaluate --model DIR --facts mastery.parquet --out DIR
  sftlens evaluate --model DIR --facts mastery.parquet --train order.parquet --scale 240 --out DIR

Writes answers.parquet (one row a question: the output and its scores) and summary.json (accuracy by split, bucket and
relation, macro). The questions are those of the splits test and testood, and with --train those of the training set,
as split `train`. With --templates the mastery of a fixed sample of the test facts is measured again (column
reprobed_mastery). With --dev and --dev-facts a fixed sample of the dev facts is asked too, to choose settings on.
Without --train and --shots the summary also has the majority baseline of each relation.
With --task-test the test examples of a task are asked too, with its own prompt: split gsm8k or xsum (docs/tasks.md);
and dev examples, split gsm8k-dev or xsum-dev, to choose settings on.
"""

import argparse
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import EvaluationSettings, TaskTest
from sftlens.config.stages.mastery import MASTERY_FIELDS, ProbingSettings
from sftlens.data import relations, tables
from sftlens.errors import ConfigError
from sftlens.runtime import progress, provenance
from sftlens.tasks import DEV, TASKS, TaskExamples


def main() -> None:
    parser = options.parser(__doc__, EvaluationSettings)
    parser.add_argument("--model", type=options.Model, required=True, help="model folder, .gguf file or hub id")
    parser.add_argument("--facts", type=Path, required=True, help="facts, with mastery buckets or without")
    parser.add_argument("--shots", type=int, default=0, help="solved train examples before each question (default: 0)")
    text = "ask an instruct model, by its chat template, with this line before each question"
    parser.add_argument("--instruction", default="", metavar="TEXT", help=text)
    options.add_evaluation(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of answers.parquet and summary.json")
    args = parser.parse_args()
    settings = options.settings(args, EvaluationSettings)
    facts, train = questions(args, settings)
    tests = task_tests(args)
    inputs = program.contents(args, "model", "templates", facts=facts, train=train, **tables_of(tests))
    depends = {**settings.model_dump(), **{name: getattr(args, name) for name in ("bos", "scale", "shots")}}
    depends |= settings_of(args, tests) | program.computing(args, args.model)
    depends |= {"instruction": args.instruction} if args.instruction else {}
    if args.instruction and (args.shots or args.train):
        raise ConfigError("option --instruction: an instruct model is asked as it is; leave out --shots and --train")

    def compute(folder: Path) -> None:
        from sftlens.evaluation import accuracy
        from sftlens.models import checkpoints

        tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
        model = checkpoints.load_model(args.model, device=args.device, compute=args.compute_dtype)
        how = (model, tokenizer, facts, train, settings, tests)
        metrics = evaluate(args, folder, *how, identity=inputs["model"], shots=args.shots, instruction=args.instruction)
        # It depends on the facts alone: once a model, at n = 0, is enough.
        metrics += [] if args.train or args.shots or args.instruction else accuracy.majority(facts)
        summary = provenance.summary("evaluate", settings=depends, inputs=inputs, metrics=metrics)
        files.write_json(folder / "summary.json", summary)

    outputs = {name: args.out / name for name in ("answers.parquet", "summary.json")}
    key = {name: value for name, value in depends.items() if name != "batch_tokens"}
    program.stage(args, "evaluate", outputs, inputs, key, compute)


def questions(args: argparse.Namespace, settings: EvaluationSettings) -> tuple[Any, Any]:
    """Return what an evaluation uses of --facts and --dev, and the rows of --train that it was trained on; or None."""
    options.both("--dev", args.dev, "--dev-facts", settings.dev_facts)
    if not args.facts:
        return None, None
    columns = ["split", "relation", "subject", "bucket", "mastery"]
    reprobed = args.templates is not None  # which needs them all
    facts = tables.used_by_evaluation(tables.facts(args.facts, columns if reprobed else (), columns), reprobed=reprobed)
    if reprobed:  # refused before a model is loaded
        asked = facts.loc[facts["split"] == "test", "relation"]
        relations.require_templates(relations.load_templates(args.templates), asked, args.templates)
    if args.dev:
        dev = tables.dev_facts(tables.facts(args.dev, optional=columns), settings.dev_facts, args.dev)
        facts = tables.with_dev(facts, dev)
    train = tables.facts(args.train, optional=[*columns, "recipe"], unique=False) if args.train else None
    return facts, None if train is None else tables.used_by_evaluation_of_training(train, args.scale)


def task_tests(args: argparse.Namespace) -> list[TaskExamples]:
    """Return the examples of every --task-test. Raises ConfigError, DataError."""
    found: list[TaskExamples] = []
    for words in args.task_test:
        given = options.nested("--task-test", words, TaskTest)
        if given.task in [test.task for test in found]:
            raise ConfigError(f"option --task-test: task {given.task} stands there twice; give it once")
        limits = given.limits(given.task)
        sample = limits.pop("sample")
        for split, path in ((given.task, given.file), (f"{given.task}{DEV}", given.dev)):
            if path:
                table = TASKS.get(given.task).read(Path(path))
                table = tables.fixed_sample(table, sample or len(table), given.task)
                table["fact_id"] = split + table["fact_id"].str.removeprefix(given.task)
                found.append(TaskExamples(given.task, split, table, **limits))
    return found


def tables_of(tests: list[TaskExamples]) -> dict[str, Any]:
    """Return what examples of tasks a result depends on, by the names of inputs."""
    return {f"task {test.split}": test.table for test in tests}


def settings_of(args: argparse.Namespace, tests: list[TaskExamples]) -> dict[str, Any]:
    """Return which settings of probing again and of tasks a result depends on; of each nothing where it is not done."""
    probing = options.nested("--probing", args.probing, ProbingSettings).model_dump(include=set(MASTERY_FIELDS))
    asked = {test.split: {"max_new_tokens": test.max_new_tokens, "max_length": test.max_length} for test in tests}
    return ({"probing": probing} if args.templates else {}) | ({"tasks": asked} if asked else {})


def evaluate(
    args: argparse.Namespace,
    folder: Path,
    model: Any,
    tokenizer: Any,
    *tables_and_settings: Any,
    identity: str,
    shots: int = 0,
    instruction: str = "",
) -> list[dict[str, Any]]:
    """Do what `evaluation.answering.measure` does, with a progress bar and the options of `options.add_evaluation`.

    `identity` is the content of the model, which may be one that lies nowhere.
    """
    from sftlens.evaluation import answering
    from sftlens.mastery.completions import Probe

    with progress.bar(description="evaluate", unit="question") as bar:
        probe = None
        if args.templates:
            probing = options.nested("--probing", args.probing, ProbingSettings)
            probe = Probe(model, tokenizer, relations.load_templates(args.templates), probing, bar.update, of=identity)
        how: dict[str, Any] = {"shots": shots, "instruction": instruction, "probe": probe, "progress": bar.update}
        return answering.measure(folder, model, tokenizer, *tables_and_settings, **how)
