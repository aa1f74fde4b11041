"""Peak memory of `sftlens check`, and how often it reads each model: one model's weights and at most 1 GB, and once.

  python benchmarks/check_memory.py [--layers 24] [--facts 24] [--compute-dtype float32]

Two folders of random weights in bf16, by default 0.5 billion parameters each, are made and checked against each other
in a process of its own. Its peak resident memory holds the mapped files too. A read is as many bytes as the weights
have, loaded or hashed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

BOUND = 1_000_000_000
"""Bytes beside one model's weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument(
        "--facts", type=int, default=100, help="of the question set; answers are short, as bf16 is slow here"
    )
    parser.add_argument("--compute-dtype", default="auto", help="float32: as on a CPU without instructions for bf16")
    parser.add_argument("--folder", type=Path, help="where the models are made, or lie from an earlier run")
    parser.add_argument("--case", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(checked(args.folder, args.facts, args.compute_dtype)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        size = [str(getattr(args, name)) for name in ("layers", "hidden", "vocabulary")]
        # Processes of their own: the peak of a child begins with that of its parent.
        source = str(Path(__file__).resolve().parent.parent / "src")
        environment = {**os.environ, "PYTHONPATH": source}
        subprocess.run([sys.executable, "-c", MAKE, str(folder), *size], check=True, env=environment)
        command = [sys.executable, __file__, "--case", "--folder", str(folder), "--facts", str(args.facts)]
        command += ["--compute-dtype", args.compute_dtype]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    weights, peak = found["weights"], found["peak"]
    print(
        f"peak memory less one model's weights: {(peak - weights) / 1e9:.2f} GB (bound {BOUND / 1e9:g}); "
        f"reads of the base {found['reads']['base']:.2f}, of the fine-tuned model {found['reads']['tuned']:.2f}"
    )
    print(f"  weights {weights / 1e9:.2f} GB a model, peak {peak / 1e9:.2f} GB, {found['seconds']:.0f} CPU s, "
          f"{args.facts} facts")  # fmt: skip


MAKE = """
import csv, sys
from pathlib import Path
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from sftlens.data.question_sets import shipped
folder, layers, hidden, vocabulary = Path(sys.argv[1]), *map(int, sys.argv[2:])
config = Qwen2Config(
    vocab_size=vocabulary, hidden_size=hidden, intermediate_size=5 * hidden, num_hidden_layers=layers,
    num_attention_heads=hidden // 64, num_key_value_heads=1, tie_word_embeddings=True,
    eos_token_id=0, bos_token_id=None,
)
raw = Tokenizer(models.BPE())
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
how = dict(special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False)
trainer = trainers.BpeTrainer(vocab_size=min(vocabulary, 4000), **how)
raw.train_from_iterator([row["question"] for row in csv.DictReader(shipped.FILE.open())], trainer)
torch.set_default_dtype(torch.bfloat16)
for seed, name in enumerate(("base", "tuned")):
    if not (folder / name / "model.safetensors").is_file():
        torch.manual_seed(seed)
        Qwen2ForCausalLM(config).save_pretrained(folder / name)
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>").save_pretrained(folder / name)
"""
"""Makes the two models."""


def checked(folder: Path, facts: int, compute: str) -> dict[str, object]:
    """Run the check in this process; return bytes of the weights and of the peak, reads of each model, CPU seconds."""
    import _common

    from sftlens import files
    from sftlens.commands.measure import check
    from sftlens.models.delta.reader import open_tensors
    from sftlens.models.loading import placement
    from sftlens.runtime import provenance

    # Weights are read where a model is loaded, tensor by tensor, and where a file is hashed.
    read: Counter[str] = Counter()
    of_tensor, of_file = placement.checked_tensor, files.sha256

    def checked_tensor(source: Any, name: str) -> Any:
        read[source.folder.name] += (tensor := of_tensor(source, name)).nbytes
        return tensor

    def sha256(path: Path) -> str:
        read[path.parent.name] += path.stat().st_size if path.suffix == ".safetensors" else 0
        return of_file(path)

    placement.checked_tensor, files.sha256 = checked_tensor, sha256
    out = sys.stdout
    sys.stdout = sys.stderr
    short = ["--compute-dtype", compute, "--few-shot", "samples=2", "max_new_tokens=2", "--max-new-tokens", "2"]
    sys.argv = ["check", str(folder / "base"), str(folder / "tuned"), "--most-facts", str(facts), *short]
    _common.run(check.main)
    sys.stdout = out
    # Mapped, not read.
    weights = {name: sum(t.nbytes for _, t in open_tensors(folder / name)) for name in ("base", "tuned")}
    reads = {name: read[name] / size for name, size in weights.items()}
    return {"weights": max(weights.values()), "peak": provenance.peak_memory(), "reads": reads,
            "seconds": time.process_time()}  # fmt: skip


if __name__ == "__main__":
    main()
