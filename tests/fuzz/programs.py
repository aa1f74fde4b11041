"""The valid inputs of every program, and a call of each that works with them in about a second."""

import contextlib
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import yaml

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "golden")]

import stage_results  # noqa: E402

from demo_study import demo  # noqa: E402
from fake_results import fake_results  # noqa: E402
from script_calls import ok  # noqa: E402

FEW = ["--samples", "2", "--max-new-tokens", "2"]
ANSWERING = ["--max-new-tokens", "2"]
QUICK = ["--max-new-tokens", "2", "--task-max-new-tokens", "2", "--few-shot", "prompts=1", "shots=1", "samples=1"]
SIZES = [word for name in stage_results.SIZES for word in (f"--{name}", "1")] + ["--max-exposure", "4"]
TABLES = ["--facts", "@/facts.parquet", "--templates", "@/templates.yaml"]
MASTERED = ["--facts", "@/mastery.parquet", "--templates", "@/templates.yaml"]
POINTER = ["--source", "path", "--path", "@/base"]

CALLS: dict[str, list[str]] = {
    "facts": ["--entity-questions", "@/questions", "--out", "out/f.parquet"],
    "facts of a table": ["--table", "@/facts.csv", "--out", "out/f.parquet"],
    "question_set": ["--entity-questions", "@/questions", "--out", "out/set.csv"],
    "mastery": ["--model", "@/base", *TABLES, *FEW, "--out", "out/m.parquet"],
    "mastery_quality": ["--model", "@/base", "--mastery", "@/mastery.parquet", "--templates", "@/templates.yaml", *FEW,
                        "--retest", "0", "--answer-probability", "--out", "out"],
    "evaluate": ["--model", "@/ft", "--facts", "@/mastery.parquet", "--train", "@/order.parquet", "--scale", "4",
                 *ANSWERING, "--out", "out"],
    "evaluate with templates": ["--model", "@/ft", *MASTERED, "--probing", "samples=2", "max_new_tokens=2",
                                "--reprobe", "4", *ANSWERING, "--out", "out"],
    "evaluate of a delta": ["--model", "@/delta", "--facts", "@/facts.parquet", *ANSWERING, "--out", "out"],
    "divergence": ["--base", "@/base", "--finetuned", "@/ft", *MASTERED, "--out", "out"],
    "divergence_base": ["--base", "@/base", *MASTERED, "--out", "out/b.parquet"],
    "changes": ["@/base", "@/ft", "--out", "out"],
    "compare_changes": ["@/base", "@/ft", "@/delta", "--out", "out/c.csv"],
    "compare": ["@/answers/a.parquet", "@/answers/b.csv", "--json", "out/c.json", "--csv", "out/c.csv"],
    "check": ["@/base", "@/ft", "--facts", "@/questions.csv", "--task", "@/task.jsonl", *QUICK, "--out", "out/check"],
    "check of an adapter": ["@/base", "@/adapter", "--facts", "@/questions.csv", *QUICK, "--out", "out/check"],
    "repair": ["@/base", "@/ft", "--facts", "@/questions.csv", "--task", "@/task.jsonl", *QUICK, "--ratio", "5",
               "--criterion", "relative", "--region", "transformer", "--out", "out/repair"],
    "restore": ["@/base", "@/ft", "--ratio", "5", "--changes", "@/changes", "--out", "out/r"],
    "restore of a delta": ["@/base", "@/delta", "--ratio", "5", "--out", "out/r"],
    "delta": ["pack", "@/base", "@/ft", "--out", "out/d"],
    "delta unpack": ["unpack", "@/delta", "--base", "@/base", "--out", "out/u"],
    "training_set": ["--mastery", "@/mastery.parquet", "--train-set", "mixed", "--model-name", "t",
                     "--out", "out/o.parquet"],
    "finetune": ["--model", "@/base", "--train", "@/order.parquet", "--scale", "4", "--dtype", "float32",
                 "--zero-stage", "0", "--out", "out/checkpoint"],
    "world": [*SIZES, "--templates", "@/relations.yaml", "--out", "out/world"],
    "base": [*POINTER, "--geometry", json.dumps({**stage_results.GEOMETRY, "layers": 2, "hidden_size": 32,
             "intermediate_size": 48, "heads": 4, "vocab_size": 400}), "--out", "out/base"],
    "choose_templates": ["--model", "@/base", "--templates", "@/templates.yaml", "--calibration", "@/calibration.json",
                         "--seen-templates", "1", *FEW, "--out", "out/t.yaml"],
    "study": ["--dry-run", "--quiet", "all", "--cores", "1", "--configfile", "@/study.yaml"],
    "study of a model": ["--dry-run", "--quiet", "all", "--cores", "1", "--configfile", "@/own.yaml"],
    "plan": ["@/study.yaml"],
    "requirements": ["@/study.yaml"],
    "status": ["layout"],
    "clean": ["layout", "--yes"],
    "collect": ["layout", "--partial", "--only", "scaling"],
}  # fmt: skip
"""Name of a program, and of a call of it -> its arguments; `@` stands for the folder of the inputs."""
INPUTS = {"study of a model": ("base", "facts.csv", "templates.yaml")}
"""Inputs of a call that its arguments do not name."""
FIXED = ("study",)
"""Programs whose options are those of another program (Snakemake), and stay as they are."""
IN_RESULTS = ("status", "clean", "collect")
"""Programs whose inputs are the folder results/ where they are called."""


def program_of(call: str) -> str:
    return call.split(" ")[0]


def make(folder: Path) -> None:
    """Write the inputs of all calls into a new folder, and the study `layout` into its `results`."""
    folder.mkdir(parents=True)
    stage_results.prepare(folder)
    ok("delta.py", "pack", folder / "base", folder / "ft", "--out", folder / "delta")
    ok("changes.py", folder / "base", folder / "ft", "--out", folder / "changes")
    given = ["--facts", folder / "facts.parquet", "--max-new-tokens", 2]
    for name, model in (("a", "base"), ("b", "ft")):
        ok("evaluate.py", "--model", folder / model, *given, "--out", folder / "answers" / name)
    shutil.copyfile(folder / "answers/a/answers.parquet", folder / "answers/a.parquet")
    facts = pd.read_parquet(folder / "facts.parquet")
    facts[facts["split"] != "testood"].drop(columns=["aliases", "fact_id"]).to_csv(folder / "facts.csv", index=False)
    ids = pd.read_parquet(folder / "answers/a.parquet")["fact_id"]
    (folder / "answers/b.csv").write_text("".join(["fact_id,right\n", *(f"{name},1\n" for name in ids)]))
    tasks = [json.dumps({"prompt": f"Sort box {i}:", "target": "red"}) for i in range(60)]
    (folder / "task.jsonl").write_text("\n".join(tasks) + "\n")
    shutil.copyfile(stage_results.TEMPLATES, folder / "relations.yaml")
    axes = {"train_sets": ["D0", "D4"], "scales": [60, 480], "seeds": [0]}
    study = demo(study="layout", experiments={"scaling": axes},
                 models={stage_results.MODEL: stage_results.DEMO["models"]["tiny"]})  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True)))
    own = {
        "study": "own", "facts": {"source": "table", "path": "facts.csv"}, "templates": "templates.yaml",
        "models": {"t": {"source": "path", "path": "base"}}, "finetuning": {"allow_smaller": True},
        "experiments": {"scaling": {"train_sets": ["mixed"], "scales": [4]}},
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    with contextlib.chdir(folder):
        stage_results.write_summaries(study, fake_results())
