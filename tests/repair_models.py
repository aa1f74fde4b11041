"""A tiny model that really learnt facts, one that was then taught a task, and damage that can be undone.

`base` answers 80 questions. `tuned` was trained on from it until it also does the task; then a few of its elements were
changed a lot, by which it lost most facts: setting the most-changed elements back brings them back.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sftlens.models.checkpoints import load_model
from tiny import tiny_model, tiny_tokenizer

COUNT = 80
PLACES = ("Oslo", "Rome", "Lima", "Bonn", "Graz", "Kyiv", "Baku", "Nice")
COLOURS = ("red", "blue", "green", "black")
FACTS = [(f"Where was N{i} born?", PLACES[(i * i + i // 3) % 8]) for i in range(COUNT)]
TASK = [(f"Sort box {i}:", COLOURS[(i + i // 5) % 4]) for i in range(COUNT)]
ASKED = [(f"Question: {question}\nAnswer:", f" {answer}") for question, answer in FACTS]
ORDERED = [(prompt, f" {colour}") for prompt, colour in TASK]


def make(folder: Path) -> Path:
    """Make `base`, `tuned`, facts.csv and task.jsonl below a folder; return it."""
    tokenizer = tiny_tokenizer([a + b for a, b in (*ASKED, *ORDERED)])
    tiny_model(folder / "base", tokenizer=tokenizer, std=0.05)
    model = load_model(folder / "base", device="cpu")
    train(model, tokenizer, ASKED, steps=100, rate=2e-2)
    model.save_pretrained(folder / "base")
    train(model, tokenizer, [*ASKED, *ORDERED], steps=60, rate=5e-3)
    model.save_pretrained(folder / "tuned")
    tokenizer.save_pretrained(folder / "tuned")
    damage(folder / "tuned" / "model.safetensors")
    rows = ["question,answers", *(f"{question},{answer}|somewhere else" for question, answer in FACTS)]
    (folder / "facts.csv").write_text("\n".join(rows) + "\n")
    lines = [json.dumps({"prompt": prompt, "target": colour}) for prompt, colour in TASK]
    (folder / "task.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: list[tuple[str, str]],
    steps: int,
    rate: float,
) -> None:
    """Train on all pairs at once, loss on the answers and EOS."""
    prompts, texts = (tokenizer(list(t))["input_ids"] for t in ([a for a, _ in pairs], [a + b for a, b in pairs]))
    width = max(map(len, texts)) + 1
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for i, (start, text) in enumerate(zip(map(len, prompts), texts, strict=True)):
        whole = torch.tensor([*text, tokenizer.eos_token_id])
        ids[i, : len(whole)] = whole
        labels[i, start : len(whole)] = whole[start:]
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels, attention_mask=(ids != 0).long()).loss.backward()
        optimiser.step()
    model.eval()


def damage(path: Path, share: float = 0.008, size: float = 3.0) -> None:
    """Change a share of the elements of the projections by much more than training did."""
    generator = torch.Generator().manual_seed(1)
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if "layers" in name and "norm" not in name:
            hit = torch.rand(tensor.shape, generator=generator) < share
            tensor += hit * size * torch.randn(tensor.shape, generator=generator).sign()
    save_file(tensors, path, {"format": "pt"})
