"""A study with GSM8K, XSum and a recipe as training sets: real trainings, restorations and answers of a tiny model."""

import json
from pathlib import Path

import pandas as pd
import torch
from study import configure, copy_repository, snakemake

from tiny import TEXTS, tiny_model, tiny_tokenizer

FACTS, HITS = 10, (0, 2, 5, 7, 10)
"""Facts of a relation and split, two in each bucket."""


def prepare(folder: Path) -> dict:
    """Write facts with their mastery, files of both tasks and a model; return the configuration."""
    rows, hits = [], []
    for split, relation in (("train", "P17"), ("train", "P36"), ("test", "P17"), ("testood", "P50")):
        for i in range(FACTS):
            row = {
                "fact_id": f"{split}/{relation}/{i}",
                "split": split,
                "relation": relation,
                "subject": f"{relation} {i}",
            }
            rows.append({**row, "question": f"Where is {split} {relation} {i}?", "object": "Oslo"})
            hits.append({"fact_id": rows[-1]["fact_id"], "hits": HITS[i % 5], "trials": 10})
    pd.DataFrame(rows).to_csv(folder / "facts.csv", index=False)
    pd.DataFrame(hits).to_parquet(folder / "hits.parquet")
    sums = [{"question": f"{i} nuts and 2?", "answer": f"{i} + 2\n#### {i + 2}"} for i in range(8)]
    for split in ("train", "test", "dev"):
        pd.DataFrame(sums).to_parquet(folder / f"gsm8k-{split}.parquet")
        news = [{"document": "Port Vale. " * (20 + i), "summary": "A port.", "id": str(i)} for i in range(8)]
        (folder / f"xsum-{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in news))
    tokenizer = tiny_tokenizer([*TEXTS, *(row["answer"] for row in sums)])
    tiny_model(folder / "model", dtype=torch.float32, tokenizer=tokenizer)
    geometry = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2, "vocab_size": 400}
    entry = {"source": "path", "path": "model", "mastery": "hits.parquet", "geometry": geometry}
    ends, limits = {"gsm8k": "parquet", "xsum": "jsonl"}, {"max_new_tokens": 8, "max_length": 120}
    files = {
        task: {split: f"{task}-{split}.{end}" for split in ("train", "test")} | limits for task, end in ends.items()
    }
    parts = {"new": {"share": 50, "buckets": ["D0"]}, "known": {"share": 50, "buckets": ["D4"]}}
    sets = {"train_sets": ["gsm8k", "xsum", "known-last"], "scales": [8]}
    return {
        "study": "skills", "facts": {"source": "table", "path": "facts.csv"}, "models": {"tiny": entry},
        "finetuning": {"learning_rate": 1e-2, "dtype": "float32", "zero_stage": 0},
        "evaluation": {"reprobe": 0, "max_new_tokens": 4},
        "tasks": {**files, "gsm8k": {**files["gsm8k"], "dev": "gsm8k-dev.parquet", "sample": 5}},
        "recipes": {"known-last": {"parts": parts, "order": ["new", "known"]}},
        "experiments": {
            "scaling": {**sets, "shots": 0}, "restoration": {**sets, "train_sets": ["gsm8k"], "ratios": [20]},
        },
    }  # fmt: skip


def test_tasks_and_recipes_from_the_configuration_to_the_report(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    configure(folder, prepare(folder))
    snakemake(folder)
    results = pd.read_parquet(folder / "results/skills/results.parquet")
    tasks = results[results["split"].isin(["gsm8k", "xsum"])]
    found = {tuple(row) for row in tasks[["train_set", "stage", "split", "metric", "n"]].itertuples(index=False)}
    scores = {"gsm8k": (["final_number"], 5), "xsum": (["rouge1", "rouge2", "rougeL"], 8)}

    def wanted(train_set: str, stage: str, task: str) -> set[tuple]:
        metrics, n = scores[task]
        return {(train_set, stage, task, metric, n) for metric in [*metrics, "well_formed"]}

    # A model is asked the task that it was trained on, at every k; the base model both.
    assert found == set().union(
        wanted("base", "evaluate", "gsm8k"), wanted("base", "evaluate", "xsum"), wanted("gsm8k", "evaluate", "gsm8k"),
        wanted("gsm8k", "restore", "gsm8k"), wanted("xsum", "evaluate", "xsum"),
    )  # fmt: skip
    assert set(tasks["bucket"]) == {"all"} and tasks["value"].between(0, 1).all()
    # Beside it the knowledge of facts, ID and OOD.
    facts = results[(results["metric"] == "contains") & (results["bucket"] == "all") & (results["relation"] == "")]
    assert set(facts.loc[facts["train_set"] == "gsm8k", "split"]) == {"test", "testood"}
    assert set(facts.loc[facts["train_set"] == "known-last", "split"]) == {"train", "test", "testood"}
    answers = pd.read_parquet(folder / "results/skills/tiny/gsm8k/n8/seed0/full/evaluate/answers.parquet")
    assert answers.loc[answers["split"] == "gsm8k", "fact_id"].str.startswith("gsm8k/").sum() == 5
    # Its dev examples are asked wherever its test examples are.
    of = ["train_set", "stage", "metric", "n", "ratio"]
    dev, test = (results[results["split"] == split][of].reset_index(drop=True) for split in ("gsm8k-dev", "gsm8k"))
    assert dev.equals(test) and answers["fact_id"].str.startswith("gsm8k-dev/").sum() == 5
    claims = pd.read_csv(folder / "results/skills/tables/claims.csv")
    assert "C10" in claims.to_string() and "gsm8k, n = 8, k = 20 %" in claims.to_string()
    order = pd.read_parquet(folder / "results/skills/tiny/known-last/order-seed0.parquet")
    assert order.groupby("phase")["bucket"].unique().map(list).tolist() == [["D0"], ["D4"]]
    page = (folder / "results/skills/report.html").read_text(encoding="utf-8")
    assert "known-last" in page and "gsm8k" in page
