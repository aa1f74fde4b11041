"""The same results on the device as on the CPU, on small models: each row a number and the bound it must keep.

In float32 the device differs by rounding, so that a sample or an answer may part where two tokens are equally probable;
what is ranked and restored must be equal bit for bit, and a resumed training the same bytes.
"""

import copy
import tempfile
import time
from pathlib import Path

import torch
from bench import Bench, InMemory, facts, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sftlens import inference
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.config.stages.training import FinetuneSettings
from sftlens.evaluation import divergence
from sftlens.inference.prompts import MASKED, Sample
from sftlens.mastery import completions
from sftlens.models import checkpoints
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair

VOCABULARY = 400
GEOMETRY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def run(bench: Bench) -> None:
    """Compare each kind of result; raises at the end where one misses its bound."""
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu = model(0)
    there = copy.deepcopy(on_cpu).to(bench.device)
    missed = []
    for check in (loaded, greedy, mastery, kl, restored, resumed):
        try:
            for name, value, bound in check(bench, on_cpu, there):
                bench.row(name, value, "", bound=bound)
                if not value >= bound if bound > 0.5 else not value <= bound:
                    missed.append(name)
        except ImportError as error:
            bench.row(f"{check.__name__}: {error}", 0)
    if missed:
        raise AssertionError(f"outside of their bounds: {missed}")


def model(seed: int) -> PreTrainedModel:
    """Return a small float32 model whose tokens are neither all alike nor all certain."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**GEOMETRY, initializer_range=0.15)).eval()


def prompts() -> list[list[int]]:
    """Return prompts of 5 to 20 tokens, many of one length, some that begin alike."""
    draw = torch.Generator().manual_seed(1)
    made = [torch.randint(3, VOCABULARY, (5 + i % 16,), generator=draw).tolist() for i in range(300)]
    return made + [made[0] + [i + 3] for i in range(100)]


def runs(bench: Bench) -> int:
    """Return how often the device computes the same: a GPU has no graph of a size at first."""
    return 1 if bench.device.type == "cpu" else 3


def equal(one: list[object], other: list[object]) -> float:
    """Return the share of equal elements."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def loaded(bench: Bench, on_cpu: PreTrainedModel, _: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Load the model as the programs do, onto the GPU where there is one, and compare its tensors and its answers."""
    with tempfile.TemporaryDirectory() as folder:
        on_cpu.save_pretrained(folder)
        there = checkpoints.load_model(Path(folder))
    same = all(torch.equal(tensor, there.state_dict()[n].cpu()) for n, tensor in on_cpu.state_dict().items())
    how = {"max_new_tokens": 8, "eos": 2, "batch_tokens": 4096}
    answers = [[inference.greedy(m, prompts(), **how) for _ in range(2)][1] for m in (on_cpu, there)]  # type: ignore[arg-type]
    on_device = float(there.device.type == bench.device.type)
    return [
        ("a loaded model is on the device", on_device, 1.0),
        ("its tensors equal", float(same), 1.0),
        ("its answers equal", equal(*answers), 0.99),  # type: ignore[arg-type]
    ]


def greedy(bench: Bench, on_cpu: PreTrainedModel, there: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Compare greedy answers, several times on the device, since the first steps of a size have no graph yet."""
    ends = list(range(0, VOCABULARY, 9))
    how = {"max_new_tokens": 12, "eos": ends, "batch_tokens": 4096}
    wanted = inference.greedy(on_cpu, prompts(), **how)  # type: ignore[arg-type]
    found = [inference.greedy(there, prompts(), **how) for _ in range(runs(bench))]  # type: ignore[arg-type]
    assert len({len(answer) for answer in wanted}) > 5
    return [(f"greedy answers equal, run {i + 1}", equal(wanted, run), 0.99) for i, run in enumerate(found)]  # type: ignore[arg-type]


def mastery(bench: Bench, on_cpu: PreTrainedModel, there: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Compare the hits of every sentence, with trees that fit and trees that part, and a probe that is resumed."""
    words = tokenizer(VOCABULARY)
    table, sentences = facts(6 if bench.tiny else 20, VOCABULARY, 7)
    table["aliases"] = [["w1", "w2", "w3"]] * len(table)

    def hits(on: PreTrainedModel, batch_tokens: int, done: set[int] = frozenset()) -> dict[int, list[int]]:  # type: ignore[assignment]
        settings = ProbingSettings(batch_tokens=batch_tokens, max_new_tokens=16)
        drawn = completions.sample(completions.Probe(on, words, sentences, settings, of="random"), table, done=done)
        return {part.batch: part.hits for part in drawn}

    def flat(parts: dict[int, list[int]]) -> list[object]:
        return [hit for number in sorted(parts) for hit in parts[number]]

    rows = []
    for batch_tokens in (20000, 2000):
        wanted, found = hits(on_cpu, batch_tokens), [hits(there, batch_tokens) for _ in range(runs(bench))]
        assert 0 < sum(map(sum, wanted.values())) < 10 * 7 * len(table)
        name = f"sentences with equal hits, batch_tokens {batch_tokens}"
        rows += [(f"{name}, run {i + 1}", equal(flat(wanted), flat(run)), 0.98) for i, run in enumerate(found)]
    some = set(list(found[0])[::2])
    rest = hits(there, 2000, some)
    same = equal(flat({n: found[0][n] for n in rest}), flat(rest))
    return [*rows, ("sentences of a resumed probe with equal hits", same, 0.98)]


def kl(bench: Bench, on_cpu: PreTrainedModel, there: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Compare divergences of two models, nats, on the 100 most probable tokens and on all."""
    other = model(1)
    pairs = ((on_cpu, other), (there, copy.deepcopy(other).to(bench.device)))
    values = []
    for p_model, q_model in pairs:
        p, q = (divergence.in_order(m, prompts(), 4096).cpu() for m in (p_model, q_model))
        values.append((divergence.top_kl(p, q, 100), divergence.full_kl(p, q)))
    return [
        (f"largest difference of KL, {name}, nats", float((a - b).abs().max()), 1e-3)
        for name, a, b in zip(("top 100", "all tokens"), *values, strict=True)
    ]


def restored(bench: Bench, *_: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Compare the cuts of every criterion, and every restored element, bit for bit; few values, so that ties abound."""
    draw = torch.Generator().manual_seed(2)
    shapes = {f"model.layers.{i}.mlp.up_proj.weight": (97, 64 + i) for i in range(4)}
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        base = {n: (torch.randint(-8, 9, s, generator=draw) / 64).to(dtype) for n, s in shapes.items()}
        tuned = {n: t + (torch.randn(t.shape, generator=draw) / 100).to(dtype) for n, t in base.items()}
        made = {}
        for device in ("cpu", bench.device.type):
            pair = Pair(InMemory(base), InMemory(tuned), "transformer", device=device)  # type: ignore[arg-type]
            for name in criteria.CRITERIA.names():
                order = criteria.make(name, RestorationSettings())
                cuts = topk.select(pair, order, [0.3, 5, 20, 60])
                tensors = [Restorer(pair, order, cut)(n, t.to(device)).cpu() for cut in cuts for n, t in tuned.items()]
                made[device, name] = (cuts, [tensor.view(torch.uint8) for tensor in tensors])
        here = {name: found for (device, name), found in made.items() if device == "cpu"}
        for name, (cuts, tensors) in here.items():
            other_cuts, others = made[bench.device.type, name]
            same = cuts == other_cuts and all(map(torch.equal, tensors, others))
            rows.append((f"restored set equal, {name}, {str(dtype)[6:]}", float(same), 1.0))
    return rows


def resumed(bench: Bench, on_cpu: PreTrainedModel, _: PreTrainedModel) -> list[tuple[str, float, float]]:
    """Compare the bytes of a training that was stopped and resumed with those of one that was not."""
    import deepspeed  # noqa: F401

    from sftlens.errors import TrainingPaused
    from sftlens.training import loop

    samples = [Sample(ids[:12], [MASKED] * 3 + ids[3:12]) for ids in prompts() if len(ids) >= 12][:64]
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        base = copy.deepcopy(on_cpu).to(torch.bfloat16)
        base.save_pretrained(folder / "base")
        for stage, offload in ((1, "none"), (2, "optimizer")) if bench.device.type == "cuda" else ((1, "none"),):
            settings = FinetuneSettings(learning_rate=1e-3, zero_stage=stage, offload=offload)  # type: ignore[arg-type]
            outs = [folder / f"{name}-{stage}" for name in ("whole", "parts")]
            loop.finetune(folder / "base", samples, settings, None, outs[0], 3)
            stops = 0
            for attempt in range(20):
                late = time.time() - 1 if attempt < 2 else None
                resume = loop.Resume(folder / f"state-{stage}", late)
                try:
                    loop.finetune(folder / "base", samples, settings, None, outs[1], 3, resume=resume)
                    break
                except TrainingPaused:
                    stops += 1
            assert stops == 2
            one, other = ((out / "model.safetensors").read_bytes() for out in outs)
            rows.append(
                (f"resumed training has the same bytes, ZeRO {stage}, offload {offload}", float(one == other), 1.0)
            )
    return rows
