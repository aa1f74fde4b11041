"""Norms and cosines of changes, their two nulls, and the first-order effect, against flat vectors and autograd."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from model_inputs import write_inputs
from restoration_models import saved
from script_calls import ok, refused
from sftlens.changes import change_cosines
from sftlens.errors import ModelError
from sftlens.evaluation import loss_gradient
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.restoration.pairs import Pair

SHAPES = {
    "model.layers.0.self_attn.q_proj.weight": (9, 11),
    "model.layers.0.mlp.up_proj.weight": (70,),
    "model.layers.1.mlp.up_proj.weight": (1,),
    "lm_head.weight": (5, 3),
}
Weights = dict[str, torch.Tensor]


def model(seed: int, around: Weights | None = None) -> Weights:
    """Return Gaussian weights, or some that lie `around` others, all of them shifted the same way."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return {n: around[n] + 0.1 * drawn[n] + 0.05 for n in drawn} if around else drawn


def opened(tmp_path: Path, *weights: Weights) -> list[Pair]:
    base, *tuned = (saved(tmp_path / str(i), one) for i, one in enumerate(weights))
    return [Pair(base, one, "transformer", 13) for one in tuned]


def flat(weights: Weights, base: Weights | None = None) -> np.ndarray:
    names = [name for name in sorted(SHAPES) if "layers" in name]
    parts = [(weights[n] - base[n] if base else weights[n]).double().flatten() for n in names]
    return np.asarray(torch.cat(parts).numpy())


def test_norms_cosines_and_further_directions(tmp_path: Path) -> None:
    base = model(0)
    one, other = model(1, base), model(2, base)
    opposite = {name: 2 * base[name] - one[name] for name in base}
    gradient = model(3)
    pairs = opened(tmp_path, base, one, opposite, other, base)
    found = change_cosines.products(pairs, [saved(tmp_path / "g", gradient)])
    vectors = np.stack([*(flat(m, base) for m in (one, opposite, other, base)), flat(gradient)])
    np.testing.assert_allclose(found.inner, vectors @ vectors.T, rtol=1e-6, atol=1e-9)
    table = change_cosines.table(found, [*"abcd", "g"], 4).set_index(["a", "b"])
    assert table.loc[("a", "b"), "cosine"] == pytest.approx(-1, abs=1e-4)
    assert table.loc[("a", "c"), "norm_b"] == pytest.approx(np.linalg.norm(flat(other, base)))
    assert table.loc[("a", "g"), "product"] == pytest.approx(flat(one, base) @ flat(gradient), rel=1e-6)
    assert np.isnan(table.loc[("a", "d"), "cosine"])  # the last model is the base itself
    assert len(table) == 4 * 5 / 2 + 4 and ("g", "g") not in table.index


def test_the_nulls_are_the_mean_and_sd_of_what_is_drawn(tmp_path: Path) -> None:
    base = model(0)
    one, other = model(1, base), model(2, base)
    found = change_cosines.products(opened(tmp_path, base, one, other))
    generator = np.random.default_rng(0)
    a = {n: (one[n] - base[n]).double().flatten().numpy() for n in SHAPES if "layers" in n}
    b = {n: (other[n] - base[n]).double().flatten().numpy() for n in a}

    def direction(x: np.ndarray) -> np.ndarray:
        drawn = generator.standard_normal(len(x))
        return np.linalg.norm(x) * drawn / np.linalg.norm(drawn)

    permuted = [sum(float(generator.permutation(a[n]) @ b[n]) for n in a) for _ in range(4000)]
    random = [sum(float(direction(a[n]) @ b[n]) for n in a) for _ in range(4000)]
    assert found.permuted[0, 1] == pytest.approx(np.mean(permuted), abs=4 * np.std(permuted) / 4000**0.5)
    assert found.permuted_sd[0, 1] == pytest.approx(np.std(permuted), rel=0.05)
    assert found.random_sd[0, 1] == pytest.approx(np.std(random), rel=0.05)
    # Both changes are shifted, so that a part of their product is there in any order.
    assert found.permuted[0, 1] > 2 * found.permuted_sd[0, 1]
    row = change_cosines.table(found, ["a", "b"], 2).iloc[1]
    assert row["permuted_cosine"] == pytest.approx(found.permuted[0, 1] / row["norm_a"] / row["norm_b"])


def test_a_direction_of_other_tensors_is_refused(tmp_path: Path) -> None:
    base = model(0)
    pairs = opened(tmp_path, base, model(1, base))
    lacking = {name: tensor for name, tensor in model(3).items() if "layers.1" not in name}
    with pytest.raises(ModelError, match=r"no tensor 'model.layers.1.mlp.up_proj.weight' of this model's shape"):
        change_cosines.products(pairs, [saved(tmp_path / "g", lacking)])


def test_the_gradient_is_that_of_the_mean_loss_of_the_answers(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    facts = pd.DataFrame({"question": ["Where was Ada Loren born?", "Who?"], "object": ["Port Vale", "Ben"]})
    base, tokenizer = checkpoints.load_model(inputs / "base"), checkpoints.load_tokenizer(inputs / "base", "require")
    found, loss, tokens = loss_gradient.compute(base, tokenizer, facts, 1)
    together, same, _ = loss_gradient.compute(base, tokenizer, facts, 10_000)
    samples = prompts.encode_samples(tokenizer, facts["question"].tolist(), facts["object"].tolist(), 1000)
    assert tokens == sum(s.supervised for s in samples) > 4 and loss == pytest.approx(same, rel=1e-5)

    def loss_at(weights: Weights) -> float:
        base.load_state_dict(weights)
        total = 0.0
        with torch.no_grad():
            for sample in samples:
                scores = base(input_ids=torch.tensor([sample.input_ids])).logits[0, :-1].double().log_softmax(-1)
                pairs = enumerate(sample.labels[1:])
                total -= sum(float(scores[i, label]) for i, label in pairs if label != prompts.MASKED)
        return total / tokens

    weights = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    assert loss == pytest.approx(loss_at(weights), rel=1e-5)
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(found[name], together[name], rtol=1e-4, atol=1e-6)
    step = 1e-2 * found[name] / found[name].norm()
    up, down = (loss_at({**weights, name: weights[name] + sign * step}) for sign in (1, -1))
    assert (up - down) / 2 == pytest.approx(float((found[name] * step).sum()), rel=1e-2)


def test_by_hand_the_first_order_effect_says_what_a_small_update_does_to_the_loss(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    pair = [inputs / "base", inputs / "ft"]
    ok(
        "compare_changes.py",
        *pair,
        "--facts",
        inputs / "mastery.parquet",
        "--region",
        "all",
        "--out",
        tmp_path / "c.csv",
    )
    row = pd.read_csv(tmp_path / "c.csv").set_index("b").loc["gradient"]
    # A step against the gradient, by which the loss must fall.
    facts = pd.read_parquet(inputs / "mastery.parquet").query("split == 'test' and bucket == 'D4'")
    tokenizer = checkpoints.load_tokenizer(inputs / "base", "require")
    gradient, before, _ = loss_gradient.compute(checkpoints.load_model(inputs / "base"), tokenizer, facts, 1000)
    base = load_file(inputs / "base/model.safetensors")
    norm = float(sum(g.double().square().sum() for g in gradient.values())) ** 0.5
    assert row["norm_b"] == pytest.approx(norm, rel=1e-4)
    moved = {name: tensor - 1e-3 / norm * gradient[name] for name, tensor in base.items()}
    save_file(moved, inputs / "ft/model.safetensors", {"format": "pt"})
    given = ["--facts", inputs / "mastery.parquet", "--region", "all", "--out", tmp_path / "c.parquet"]
    ok("compare_changes.py", *pair, *given, "--summary", tmp_path / "s.json")
    row = pd.read_parquet(tmp_path / "c.parquet").set_index("b").loc["gradient"]
    assert row["cosine"] == pytest.approx(-1, abs=1e-3) and row["product"] == pytest.approx(-1e-3 * norm, rel=1e-2)
    _, after, _ = loss_gradient.compute(checkpoints.load_model(inputs / "ft"), tokenizer, facts, 1000)
    assert after - before == pytest.approx(row["product"], rel=0.1)
    assert "no fact of this split and bucket" in refused(
        "compare_changes.py",
        *pair,
        "--facts",
        inputs / "mastery.parquet",
        "--bucket",
        "D9",
        "--out",
        tmp_path / "d.csv",
    )
