"""The modules of src/sftlens that one fact passes through, from its question to a figure, stage by stage.

pytest tests/golden/test_walk.py -s    prints them; docs/architecture.md says what counts, and how many they are

The stages run in this process, on the inputs of the golden results, and every call and return of a function of the
package is looked at. A module counts where one of its functions is given or returns the fact: its subject, in a text,
a list, a mapping or a table, or the tokens of its subject, in a list or a tensor. In the last stage, where facts have
become shares, it counts where it is given or returns the accuracy of the fact's cell: as a row, in a table, or drawn.
What only hands on settings, or where a file lies, does not count; what reads or writes the file does.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import stage_results
import torch
from matplotlib.figure import Figure

import sftlens
from demo_study import DEMO, demo
from fake_results import MODEL, SCALES, SEEDS, fake_results
from repository import ROOT
from script_calls import ok
from sftlens.models import checkpoints

PACKAGE = Path(sftlens.__file__).resolve().parent
STAGES = ("facts", "mastery", "training_set", "finetune", "evaluate", "figure")
LONGEST = 200
"""How many values of a list or a table are looked at."""


class Mark:
    """What a fact is known by in one stage."""

    def __init__(self, text: str = "", tokens: list[int] | None = None, number: float | None = None) -> None:
        self.text, self.tokens, self.number = text, tokens or [], number

    def on(self, value: Any, depth: int = 4) -> bool:
        """Whether a value is, or holds, the fact."""
        if isinstance(value, str):
            return bool(self.text) and self.text in value
        if isinstance(value, float | Figure):
            return self.number is not None and (isinstance(value, Figure) or value == self.number)
        if isinstance(value, torch.Tensor):
            return not value.is_floating_point() and self._in_tokens(value.numpy())
        if isinstance(value, np.ndarray):
            return value.dtype.kind == "i" and self._in_tokens(value)
        if isinstance(value, pd.DataFrame):
            shares = self.number is not None and "Model" in value
            return shares or any(self.on(value[name], depth) for name in list(value))
        if isinstance(value, pd.Series):
            return self.on(value.head(LONGEST).tolist(), depth)
        if isinstance(value, list | tuple) and value and isinstance(value[0], int):
            return self._in_tokens(np.array([part for part in value if isinstance(part, int)]))
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
        return depth > 0 and any(self.on(part, depth - 1) for part in parts[:LONGEST])

    def _in_tokens(self, values: np.ndarray) -> bool:
        count, flat = len(self.tokens), values.reshape(-1)[:100_000]
        if not count or len(flat) < count:
            return False
        windows = np.lib.stride_tricks.sliding_window_view(flat, count)
        return bool((windows == self.tokens).all(axis=1).any())


def walked(inputs: Path, out: Path) -> dict[str, set[str]]:
    """Return the modules that a fact passes through in each stage; `inputs` is what `stage_results.prepare` wrote."""
    subject = str(pd.read_parquet(inputs / "order.parquet")["subject"].iloc[0])
    tokenizer = checkpoints.load_tokenizer(inputs / "base")
    fact = Mark(subject, tokenizer.encode(f" {subject}", add_special_tokens=False)[-4:])
    marks = dict.fromkeys(STAGES, fact) | {"facts": Mark("test P17 1"), "figure": Mark(number=ACCURACY)}
    found = {}
    for stage, mark in marks.items():
        (out / stage).mkdir()
        with _seen(mark) as found[stage]:
            (RECIPES.get(stage) or stage_results.RECIPES[stage])(inputs, out / stage)
    return found


def _figure(inputs: Path, out: Path) -> None:
    """Draw the accuracies of an invented study, one of which is ACCURACY."""
    rows, axes = fake_results(), {"train_sets": ["D0"], "scales": list(map(int, SCALES)), "seeds": list(SEEDS)}
    rows.loc[(rows["metric"] == "contains") & (rows["train_set"] == "D0") & (rows["bucket"] == "macro"), "value"] = (
        ACCURACY
    )
    with contextlib.chdir(out):
        study = demo(study="one", models={MODEL: DEMO["models"]["tiny"]}, experiments={"scaling": axes})
        stage_results.write_summaries(study, rows)
        ok("collect.py", "one", "--figure", "fig2")


def _order(inputs: Path, out: Path) -> None:
    given = ["--mastery", inputs / "mastery.parquet", "--train-set", "mixed", "--model-name", "tiny"]
    ok("training_set.py", *given, "--out", out / "order.parquet")


RECIPES = {"training_set": _order, "figure": _figure}
ACCURACY = 0.31415926


@contextmanager
def _seen(mark: Mark) -> Iterator[set[str]]:
    """Collect, while the block runs, the modules of the package whose functions are given or return the fact."""
    seen: set[str] = set()
    modules: dict[str, str] = {}

    def look(frame: FrameType, event: str, value: Any) -> None:
        name = frame.f_code.co_filename
        if name not in modules:
            path = Path(name)
            inside = path.is_absolute() and path.is_relative_to(PACKAGE)
            modules[name] = ".".join(path.relative_to(PACKAGE).with_suffix("").parts) if inside else ""
        module = modules[name]
        if module and module not in seen and event in ("call", "return"):
            values = list(frame.f_locals.values()) if event == "call" else [value]
            if any(map(mark.on, values)):
                seen.add(module)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def test_one_fact_passes_through_no_more_modules_than_the_page_says(tmp_path: Path) -> None:
    by_stage = walked(stage_results.prepare(tmp_path / "inputs"), tmp_path)
    for stage, modules in by_stage.items():
        print(f"{stage} ({len(modules)}): {', '.join(sorted(modules))}")
        assert modules, stage
    found = set().union(*by_stage.values())
    programs = {name for name in found if name.startswith("commands.")}
    counted = [len(found - programs), len(programs)]
    print("{} modules, and {} of the programs".format(*counted))
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    said = re.search(r"passes through (\d+) modules of the library .*? and (\d+) of the programs", page, re.DOTALL)
    assert said and all(count <= int(most) for count, most in zip(counted, said.groups(), strict=True))
