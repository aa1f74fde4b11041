"""Methods with a way of their own, spectral and module-wise, against dense computations, and their controls."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from demo_study import demo
from restoration_models import SETTINGS, pair_of
from script_calls import ok, refused
from sftlens.dag import contrasts
from sftlens.dag.cells import distinct
from sftlens.dag.jobs import Jobs
from sftlens.errors import ModelError
from sftlens.restoration import apply, criteria, methods
from sftlens.restoration.apply import Method, Restorer, reverted
from sftlens.restoration.cuts import NOTHING, Cut
from sftlens.restoration.pairs import Pair
from sftlens.restoration.spectral import Spectral, omega
from tiny import tiny_model

SHAPES = {
    "model.layers.0.self_attn.q_proj.weight": (60, 60),
    "model.layers.0.self_attn.k_proj.weight": (20, 60),
    "model.layers.0.self_attn.v_proj.weight": (60, 30),
    "model.layers.0.mlp.up_proj.weight": (90, 60),
    "model.layers.0.mlp.up_proj.bias": (90,),
    "lm_head.weight": (70, 60),
}
MEDIAN = {(60, 60): 2.8582, (60, 30): 2.1711}
"""The coefficients that arXiv 1305.5870 prints, of square matrices and of those twice as long as wide."""


def models(dtype: torch.dtype = torch.float32) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return Gaussian weights, and the same with an update of rank 3 in white noise."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    base = {name: normal(*shape).to(dtype) for name, shape in SHAPES.items()}
    update = {name: 0.01 * normal(*shape) for name, shape in SHAPES.items()}
    for name, shape in SHAPES.items():
        if len(shape) == 2:
            update[name] += 0.05 * normal(shape[0], 3) @ normal(3, shape[1])
    return base, {name: (tensor.float() + update[name]).to(dtype) for name, tensor in base.items()}


def made(method: Method) -> dict[str, torch.Tensor]:
    return dict(method)


def build(pair: Pair, name: str, ratio: float) -> Method:
    """Return what sftlens restore makes of a choice that ranks nothing."""
    restorer = Restorer(pair, criteria.make("relative", SETTINGS), Cut(ratio, 0, NOTHING))
    method, _ = methods.chosen(name)
    matched = methods.METHODS.get(method.matched).make(restorer, lambda: None, SETTINGS) if method.matched else None
    return method.make(restorer, partial(reverted, matched, 1e-8), SETTINGS)


@pytest.mark.parametrize("ratio", [100, 30])
def test_spectral_is_what_a_dense_decomposition_gives(tmp_path: Path, ratio: float) -> None:
    base, tuned = models()
    pair = pair_of(tmp_path, base, tuned, piece=700)
    found = made(build(pair, "spectral", ratio))
    for name, shape in SHAPES.items():
        if name == "lm_head.weight" or len(shape) == 1:
            assert torch.equal(found[name], tuned[name])
            continue
        p, s = base[name].double().numpy(), tuned[name].double().numpy()
        u, values, v = np.linalg.svd(s - p, full_matrices=False)
        threshold = MEDIAN.get(shape, omega(min(shape) / max(shape))) * np.median(values)
        kept = values >= threshold
        assert kept.sum() == 3, name
        removed = (u[:, ~kept] * values[~kept]) @ v[~kept]
        np.testing.assert_allclose(found[name].numpy(), s - ratio / 100 * removed, atol=1e-6)


def test_the_threshold_is_that_of_the_paper() -> None:
    for beta, printed in ((0.05, 1.5194), (0.5, 2.1711), (1.0, 2.8582)):
        assert omega(beta) == pytest.approx(printed, abs=2e-4)


def test_spectral_leaves_a_matrix_alone_that_did_not_change_and_holds_one_at_a_time(tmp_path: Path) -> None:
    base, tuned = models()
    same = "model.layers.0.self_attn.k_proj.weight"
    tuned[same] = base[same].clone()
    pair = pair_of(tmp_path, base, tuned)
    method = Spectral(pair, 100)
    assert torch.equal(made(method)[same], base[same])
    assert method._at_hand[1].numel() <= 90 * 60
    # Tensors may come in any sequence, and more than once.
    names = [*pair.names, *reversed(pair.names)]
    again = {name: method(name, pair.finetuned.get(name)) for name in names}
    assert all(torch.equal(again[name], made(method)[name]) for name in pair.names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_module_wise_sets_queries_and_keys_back(tmp_path: Path, dtype: torch.dtype) -> None:
    base, tuned = models(dtype)
    pair = pair_of(tmp_path, base, tuned)
    found = made(build(pair, "module-wise", 100))
    for name in SHAPES:
        routing = "q_proj" in name or "k_proj" in name
        assert torch.equal(found[name], base[name] if routing else tuned[name]), name
    half = made(build(pair, "module-wise", 50))["model.layers.0.self_attn.q_proj.weight"].double()
    p, s = (m["model.layers.0.self_attn.q_proj.weight"].double() for m in (base, tuned))
    d = s - p
    assert float((d * (half - p)).sum() / (d * d).sum()) == pytest.approx(
        0.5, abs=1e-6 if dtype == torch.float32 else 0.05
    )
    with pytest.raises(ModelError, match="region 'mlp' has no projection of queries or keys; take a region with"):
        build(Pair(pair.base, pair.finetuned, "mlp"), "module-wise", 100)


@pytest.mark.parametrize("name", ["spectral", "module-wise"])
@pytest.mark.parametrize("ratio", [100, 40])
def test_a_control_reverts_as_much_of_the_squared_change(tmp_path: Path, name: str, ratio: float) -> None:
    pair = pair_of(tmp_path, *models(), piece=500)
    wanted = apply.reverted(build(pair, name, ratio), 1e-8).sum_d2
    control = build(pair, f"{name}-control", ratio)
    assert 0 < wanted < 1 and apply.reverted(control, 1e-8).sum_d2 == pytest.approx(wanted, rel=1e-4)
    assert f"as much of sum (s - p)^2 is reverted as by `{name}` at k = {ratio:g} %" in control.card(
        {"base": "b", "finetuned": "f"}, {}
    )


def test_by_hand(tmp_path: Path) -> None:
    for name, seed in (("base", 0), ("ft", 1)):
        tiny_model(tmp_path / name, seed=seed)
    pair = [tmp_path / "base", tmp_path / "ft"]
    for name in ("module-wise", "spectral-control"):
        ok("restore.py", *pair, "--criterion", name, "--ratio", 100, "--out", tmp_path / name)
        assert f'"name": "{name}"' in json.dumps(json.loads((tmp_path / name / "summary.json").read_text())["method"])
    base, found = (load_file(folder / "model.safetensors") for folder in (pair[0], tmp_path / "module-wise"))
    same = [n for n in base if torch.equal(base[n], found[n]) and "layernorm" not in n and n != "model.norm.weight"]
    assert len(same) == 4 and all("q_proj" in n or "k_proj" in n for n in same)
    levels = ["--level-map", tmp_path / "l.safetensors"]
    assert "restores no nested sets of parameters" in refused(
        "restore.py", *pair, "--criterion", "spectral", "--ratio", 5, *levels
    )
    assert "did you mean 'module-wise'" in refused(
        "restore.py", *pair, "--criterion", "modulewise", "--ratio", 5, *levels
    )


def test_in_a_study_nothing_is_ranked_for_them() -> None:
    names = ["relative", "spectral", "spectral-control", "module-wise"]
    axes = {"train_sets": ["D2"], "scales": [60], "seeds": [0], "ratios": [20], "criteria": names}
    study = demo(experiments={"restoration": axes})
    jobs = Jobs(study)
    cell = {"model": "tiny", "train_set": "D2", "scale": "60", "seed": "0", "strategy": "full", "region": "transformer"}
    for name in names:
        wildcards = SimpleNamespace(**cell, criterion=name, ratio="20")
        ranks = name == "relative"
        assert (
            ("--changes" in jobs.restore_options(wildcards)) == ("histogram" in jobs.restore_inputs(wildcards)) == ranks
        )
    found = contrasts.contrasts(contrasts.conditions(distinct(study)))
    against = [c.against for c in found if c.condition.criterion == "spectral"]
    assert against == ["k = 0", "spectral-control, as much of sum d^2 reverted"]
