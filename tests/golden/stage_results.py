"""What each stage makes of tiny models whose weights are exact, so that any machine makes the same but for rounding.

What is known of it stands in tests/golden/STAGE.json: texts and whole numbers as hashes, other numbers as they are.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import load_file, save_file

from demo_study import DEMO, demo
from entity_questions_files import data_set
from fake_results import MODEL, RATIOS, SCALES, SEEDS, fake_results
from lora_models import trained
from probe_tables import SENTENCES, facts_table
from script_calls import ok
from sftlens import files
from sftlens.config.study import Study
from sftlens.dag import recorded
from sftlens.dag.cells import distinct
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS, bucket
from sftlens.models import adapters
from sftlens.results import collect
from tiny import tiny_model

GOLDEN = Path(__file__).parent
TOLERANCE = 1e-3
"""Relative; sums in another order differ by less than a hundredth of it, a change of meaning by more."""
LISTED = 40
"""Longer columns of floats are compared by their moments and their first values."""
ROOT = GOLDEN.parents[1]
TEMPLATES = ROOT / "config/relations.yaml"
PROBING = ["--samples", 4, "--max-new-tokens", 4]
SIZES = ("train", "test", "testood", "extra", "dev", "calibration")
WORLD = [word for name in SIZES for word in (f"--{name}", 2)] + ["--max-exposure", 12]
GEOMETRY = {"layers": 1, "hidden_size": 16, "intermediate_size": 24, "heads": 2, "kv_heads": 2, "vocab_size": 300}
PRETRAINING = {"batch_tokens": 64, "max_positions": 64}


def prepare(folder: Path) -> Path:
    """Write the inputs of all stages: models `base` and `ft`, an adapter, facts, templates, mastery, training set."""
    for name, seed in (("base", 0), ("ft", 1)):
        tiny_model(folder / name, std=0.1)
        path, draw = folder / name / "model.safetensors", np.random.default_rng(0)
        shift = np.random.default_rng(seed)
        tensors = {}
        for key, tensor in sorted(load_file(path).items()):
            grid = draw.integers(-800, 801, tensor.shape) + seed * shift.integers(-60, 61, tensor.shape)
            tensors[key] = torch.from_numpy(grid.astype("float32")) / 4096 + ("norm" in key)
        save_file(tensors, path, {"format": "pt"})
    trained(folder / "adapter", folder / "base")
    data_set(folder / "questions", 2)
    facts = facts_table(subjects=5)
    files.write_parquet(folder / "facts.parquet", facts)
    entries = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(entries))
    fact = {"relation": "P17", "subject": "Mount Kesta", "object": "e"}
    files.write_json(folder / "calibration.json", [fact, {**fact, "relation": "P19", "object": "a"}])
    files.write_parquet(folder / "mastery.parquet", mastered(facts))
    ok("training_set.py", "--mastery", folder / "mastery.parquet", "--train-set", "mixed", "--model-name", "tiny",
       "--out", folder / "order.parquet")  # fmt: skip
    texts = [f"{name} was born in {city}" for name in ("Ada Loren", "Ben Oslo") for city in ("Torburg", "Kestaton")]
    (folder / "corpus.txt").write_text("".join(f"{text}\n" for text in texts * 10))
    with (folder / "questions.csv").open("w") as file:
        file.write("question,answers\n")
        file.writelines(f"Where was N{i} born?,{'aeiou'[i % 5]}\n" for i in range(60))
    return folder


def mastered(facts: pd.DataFrame) -> pd.DataFrame:
    """Return a mastery table with facts of all buckets."""
    hits = [[4 * (i % 5), i % 3, 0][: len(SENTENCES[relation])] for i, relation in enumerate(facts["relation"])]
    table = facts.assign(hits=[row[0] for row in hits], trials=16, template_hits=hits)
    table["mastery"] = table["hits"] / table["trials"]
    table["bucket"] = [bucket(rate) for rate in table["mastery"]]
    return table.assign(aliases=[[*"aeiou"] if name == BUCKETS[-1] else ["a", "e"] for name in table["bucket"]])


def _asked(i: Path) -> list[object]:
    train = ["--train", i / "order.parquet", "--scale", 8]
    return ["--facts", i / "mastery.parquet", *train, "--templates", i / "templates.yaml",
            "--probing", json.dumps({"samples": 2, "max_new_tokens": 3}), "--reprobe", 4]  # fmt: skip


def _probe(i: Path, out: Path, *more: object) -> None:
    given = ["--model", i / "base", "--facts", i / "facts.parquet", "--templates", i / "templates.yaml", *PROBING]
    ok("mastery.py", *given, *more, "--out", out / "mastery.parquet")


def _completions(i: Path, out: Path) -> None:
    _probe(i, out, "--keep-texts")
    for name in ("mastery.parquet", "mastery.json"):
        (out / name).unlink()


def _quality(i: Path, out: Path) -> None:
    _probe(i, out / "probed")
    table = ["--mastery", out / "probed/mastery.parquet"]
    given = ["--model", i / "base", *table, "--templates", i / "templates.yaml", *PROBING]
    ok("mastery_quality.py", *given, "--retest", 6, "--answer-probability", "--out", out)
    files.remove(out / "probed")


def _finetune(i: Path, out: Path) -> None:
    given = ["--model", i / "base", "--train", i / "order.parquet", "--scale", 8, "--seed", 3, "--dtype", "float32"]
    ok("finetune.py", *given, "--zero-stage", 0, "--learning-rate", 1e-3, "--out", out / "checkpoint")


def _divergence(i: Path, out: Path) -> None:
    given = ["--facts", i / "mastery.parquet", "--templates", i / "templates.yaml", "--answer-within-words", 20]
    ok("divergence.py", "--base", i / "base", "--finetuned", i / "ft", *given, "--out", out)


def _compare_changes(i: Path, out: Path) -> None:
    written = ["--out", out.resolve() / "cosines.csv", "--summary", out.resolve() / "summary.json"]
    with contextlib.chdir(i):  # the table names the folders as they are given
        ok("compare_changes.py", "base", "ft", "ft", "--facts", "mastery.parquet", *written)


def _restore(i: Path, out: Path) -> None:
    for criterion in ("relative", "random", "interpolation"):
        where = ["--ratio", 5, "--criterion", criterion, "--out", out / criterion]
        ok("restore.py", i / "base", i / "ft", *where, *_asked(i))


def _base(i: Path, out: Path) -> None:
    given = ["--geometry", json.dumps(GEOMETRY), "--pretraining", json.dumps(PRETRAINING)]
    ok("base.py", "--source", "pretrain", *given, "--corpus", i / "corpus.txt", "--out", out)


def _templates(i: Path, out: Path) -> None:
    given = ["--templates", i / "templates.yaml", "--calibration", i / "calibration.json", "--seen-templates", 1]
    ok("choose_templates.py", "--model", i / "base", *given, *PROBING, "--out", out / "templates.yaml")


def write_summaries(study: Study, rows: pd.DataFrame) -> None:
    """Write what a study's stages would have left in this folder, had they measured the rows of a tidy table."""
    recorded.record(study)
    part_of = collect.parts(rows)
    for product in distinct(study):
        part = part_of([product])
        part = part.drop(columns=["study", "stage", *(name for name in product.axes if name in ("model", *CELL))])
        listed = [{k: v for k, v in row.items() if v != "" and v == v} for row in part.to_dict("records")]
        files.write_json(Path(Paths(study).summary(product)), {"metrics": listed})


def _collect(i: Path, out: Path) -> None:
    """Everything that is made of a study's summaries; those of an invented study."""
    rows, axes = fake_results(), {"train_sets": list(BUCKETS), "scales": list(map(int, SCALES)), "seeds": list(SEEDS)}
    large = {**axes, "scales": [480], "seeds": [0]}
    experiments = {
        "mastery": {}, "scaling": axes, "divergence": axes, "concentration": axes, "blocks": {**large, "size": 1},
        "restoration": {**large, "ratios": list(RATIOS), "criteria": ["relative", "interpolation"]},
    }  # fmt: skip
    with contextlib.chdir(out):
        study = demo(study="layout", models={MODEL: DEMO["models"]["tiny"]}, experiments=experiments)
        write_summaries(study, rows)
        ok("collect.py", "layout", "--partial")
        for path in [*Path("results/layout/partial").rglob("*")]:
            if path.suffix in (".csv", ".parquet"):
                path.rename(path.name)
        files.remove(Path("results"))


CELL = ("train_set", "scale", "seed", "strategy")

RECIPES: dict[str, Callable[[Path, Path], object]] = {
    "world": lambda i, o: ok("world.py", *WORLD, "--templates", TEMPLATES, "--out", o / "world"),
    "facts": lambda i, o: ok("facts.py", "--entity-questions", i / "questions", "--out", o / "facts.parquet"),
    "base": _base,
    "templates": _templates,
    "divergence_base": lambda i, o: ok("divergence_base.py", "--base", i / "base", "--facts", i / "mastery.parquet",
                                       "--templates", i / "templates.yaml", "--out", o / "base.parquet"),
    "completions": _completions,
    "mastery": _probe,
    "adaptive": lambda i, o: _probe(i, o, "--method", "adaptive", "--calibration-facts", 4),
    "mastery_quality": _quality,
    "training_set": lambda i, o: (o / "order.parquet").write_bytes((i / "order.parquet").read_bytes()),
    "finetune": _finetune,
    "evaluate": lambda i, o: ok("evaluate.py", "--model", i / "ft", *_asked(i), "--out", o),
    "divergence": _divergence,
    "changes": lambda i, o: ok("changes.py", i / "base", i / "ft", "--out", o),
    "compare_changes": _compare_changes,
    "restore": _restore,
    "levels": lambda i, o: ok("restore.py", i / "base", i / "ft", "--ratio", 5, "--level-map",
                              o / "levels.safetensors"),
    "collect": _collect,
    "merge": lambda i, o: adapters.merge(i / "base", i / "adapter", o / "model"),
    "check": lambda i, o: ok("check.py", i / "base", i / "ft", "--facts", i / "questions.csv", "--out", o),
    "repair": lambda i, o: ok("repair.py", i / "base", i / "ft", "--facts", i / "questions.csv", "--ratio", 5,
                              "--out", o),
}  # fmt: skip


def made(stage: str, inputs: Path, out: Path) -> dict[str, Any]:
    """Return what a stage makes, in a form that can be kept and compared: file -> its content in short."""
    out.mkdir(parents=True)
    RECIPES[stage](inputs, out)
    described: dict[str, Any] = {}
    texts = hashlib.sha256()
    for path in sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")):
        name = path.relative_to(out).as_posix()
        if path.suffix in (".parquet", ".csv"):
            described[name] = _table(pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path))
        elif path.suffix == ".safetensors":
            described[name] = {key: _tensor(tensor) for key, tensor in sorted(load_file(path).items())}
        elif path.suffix == ".json" and isinstance(found := files.read_json(path), dict) and "run" in found:
            described[name] = _shortened({key: found[key] for key in found if key not in UNCOMPARED})
        elif path.suffix in (".json", ".txt", ".yaml") and path.parent.name not in MODELS:
            texts.update(f"{name}\0{path.read_text()}\0".encode())
            described["texts"] = texts.hexdigest()[:16]
    assert described, stage
    return described


UNCOMPARED = {"schema", "stage", "result_version", "settings", "inputs", "run", "files", "path", "trade_off"}
MODELS = ("checkpoint", "model", "merge", "world")


def _table(table: pd.DataFrame) -> dict[str, Any]:
    return {"rows": len(table)} | {name: _values(table[name].tolist()) for name in table}


def _tensor(tensor: torch.Tensor) -> Any:
    values = tensor.flatten().tolist()
    return _values([float(value) for value in values] if tensor.is_floating_point() else values)


def _values(values: list[Any]) -> Any:
    """Floats as they are, or as moments; everything else as a hash."""
    if values and all(isinstance(value, bytes) for value in values):  # the base model's logits
        values = [np.frombuffer(value, "<f4").tolist() for value in values]
    if values and all(isinstance(value, np.ndarray | list) for value in values):
        inner = [cell for value in values for cell in value]
        if any(isinstance(cell, float) for cell in inner):
            return {"sizes": _values(list(map(len, values))), "values": _values(list(map(float, inner)))}
    if any(isinstance(value, float) for value in values) and not any(isinstance(value, str) for value in values):
        values = [math.nan if value is None else float(value) for value in values]
        numbers = np.array(values)
        if len(values) <= LISTED:
            return [_rounded(value) for value in values]
        kept = numbers[np.isfinite(numbers)]
        moments = [float(kept.sum()), float(np.abs(kept).sum()), float((kept**2).sum()), float(kept.max(initial=0))]
        return [len(kept), *map(_rounded, [*moments, *values[:4]])]
    text = json.dumps(values, ensure_ascii=False, default=lambda cell: cell.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _shortened(value: Any) -> Any:
    """A summary with its long lists of rows as columns."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _table(pd.DataFrame(value))
    if isinstance(value, list):
        return _values(value)
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return where two results differ by more than rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = list({**one, **other})
        return [found for name in names for found in differences(one.get(name), other.get(name), f"{place}/{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, (a, b) in pairs for found in differences(a, b, f"{place}[{i}]")]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    alike = math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-6) if numbers else one == other
    return [] if alike else [f"{place}: {other} instead of {one}"]


def read(stage: str) -> dict[str, Any] | None:
    """Return what a stage is known to make, with the number of its results."""
    path = GOLDEN / f"{stage}.json"
    return files.read_json(path) if path.is_file() else None
