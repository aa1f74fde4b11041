"""The controls: the null model, interpolation, and what each restoration reverts, against flat vectors in numpy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from restoration_models import SETTINGS, SHAPES, cuts_of, gaussian, pair_of
from sftlens.changes import concentration, permutation_null
from sftlens.restoration import apply, criteria, wise_ft
from sftlens.restoration.apply import Method, Restorer
from sftlens.restoration.pairs import Pair

RELATIVE = criteria.make("relative", SETTINGS)
WIDE = {
    "model.layers.0.self_attn.q_proj.weight": (90, 110),
    "model.layers.0.mlp.up_proj.weight": (7000,),
    "model.layers.1.mlp.up_proj.weight": (4001,),
}


def models(seed: int, follows: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return Gaussian weights and the same changed: by independent noise, or (`follows`) by a part of each weight."""
    generator = torch.Generator().manual_seed(seed)
    base = {name: torch.randn(shape, generator=generator) for name, shape in WIDE.items()}
    noise = {name: 0.01 * torch.randn(shape, generator=generator) for name, shape in WIDE.items()}
    return base, {n: p + (0.01 * p * (1 + noise[n]) if follows else noise[n]) for n, p in base.items()}


def flat(method: Method, which: str) -> np.ndarray:
    """Return the region as one float64 vector: of `base`, of `finetuned`, or `made` by the method."""
    pair = method.pair
    tensors = {n: (pair.base if which == "base" else pair.finetuned).get(n) for n in pair.names}
    made = {n: method(n, t) for n, t in tensors.items()} if which == "made" else tensors
    return torch.cat([t.double().flatten() for t in made.values()]).numpy()


def sums(p: np.ndarray, s: np.ndarray) -> list[float]:
    narrow_p, narrow_s = p.astype(np.float32), s.astype(np.float32)
    r = np.abs(narrow_s - narrow_p) / (np.abs(narrow_p) + np.float32(1e-8))
    return [r.astype(np.float64).sum(), np.abs(s - p).sum(), ((s - p) ** 2).sum()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("criterion", ["relative", "absolute", "random"])
def test_reverted_is_what_a_comparison_of_the_models_gives(tmp_path: Path, dtype: torch.dtype, criterion: str) -> None:
    pair = pair_of(tmp_path, *gaussian(1, dtype))
    method = Restorer(pair, criteria.make(criterion, SETTINGS), cuts_of(pair, criterion, [30])[0])
    found = apply.reverted(method, 1e-8)
    p, s, made = (flat(method, which) for which in ("base", "finetuned", "made"))
    shares = 1 - np.array(sums(p, made)) / sums(p, s)
    np.testing.assert_allclose([found.sum_r, found.sum_abs_d, found.sum_d2], shares, rtol=1e-12)
    assert found.elements == np.mean(made != s)
    assert found.distance == pytest.approx(np.linalg.norm(made - p), rel=1e-12)
    held = concentration.measure(pair, method.criterion, [method.cut], 1e-8).shares[30]
    assert found.sum_d2 == pytest.approx(held["sum_d2"], rel=1e-12)


def test_nothing_is_reverted_of_no_change(tmp_path: Path) -> None:
    base, _ = gaussian(1, torch.float32)
    pair = pair_of(tmp_path, base, base)
    restorer = Restorer(pair, RELATIVE, cuts_of(pair, "relative", [40])[0])
    assert apply.reverted(restorer, 1e-8) == apply.Reverted(0, 0, 0, 0, 0)
    assert wise_ft.factor(pair, apply.reverted(restorer, 1e-8)) == 1


@pytest.mark.parametrize("ratio", [5, 20, 60])
def test_interpolation_reverts_as_much_of_the_squared_change_as_the_criterion_it_is_equal_to(
    tmp_path: Path, ratio: int
) -> None:
    pair = pair_of(tmp_path, *models(2, follows=False), piece=1000)
    restorer = Restorer(pair, RELATIVE, cuts_of(pair, "relative", [ratio])[0])
    wanted = apply.reverted(restorer, 1e-8)
    interpolated = wise_ft.Interpolation(pair, wise_ft.factor(pair, wanted))
    found = apply.reverted(interpolated, 1e-8)
    assert found.sum_d2 == pytest.approx(wanted.sum_d2, rel=1e-4) and 0 < wanted.sum_d2 < 1
    p, s, made = (flat(interpolated, which) for which in ("base", "finetuned", "made"))
    left = np.sqrt(1 - wanted.sum_d2)
    np.testing.assert_allclose(made, p + left * (s - p), atol=5e-7)
    assert found.elements > 0.99


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_interpolation_of_changes_of_one_unit_in_the_last_place(tmp_path: Path, dtype: torch.dtype) -> None:
    """Rounded to the nearest, most of them would not move at all."""
    base, finetuned = ({n: t.to(dtype) for n, t in m.items()} for m in models(10, follows=False))
    pair = pair_of(tmp_path, base, finetuned, piece=1000)
    restorer = Restorer(pair, RELATIVE, cuts_of(pair, "relative", [20])[0])
    wanted = apply.reverted(restorer, 1e-8)
    interpolated = wise_ft.Interpolation(pair, wise_ft.factor(pair, wanted), seed=1)
    assert apply.reverted(interpolated, 1e-8).sum_d2 == pytest.approx(wanted.sum_d2, rel=0.05)
    p, s, made = (flat(interpolated, which) for which in ("base", "finetuned", "made"))
    assert ((made >= np.minimum(p, s)) & (made <= np.maximum(p, s))).all()
    d = s - p
    assert (d * (made - p)).sum() / (d * d).sum() == pytest.approx(interpolated.alpha, abs=0.02)  # unbiased
    other = wise_ft.Interpolation(Pair(pair.base, pair.finetuned, pair.region, piece=77), interpolated.alpha, seed=1)
    np.testing.assert_array_equal(flat(other, "made"), made)
    assert (flat(wise_ft.Interpolation(pair, interpolated.alpha, seed=2), "made") != made).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_interpolation_ends_at_the_models_themselves_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    base, finetuned = gaussian(3, dtype)
    base["model.layers.10.mlp.up_proj.weight"][0] = -0.0
    pair = pair_of(tmp_path, base, finetuned)
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    for alpha, wanted in ((0.0, base), (1.0, finetuned)):
        made = dict(wise_ft.Interpolation(pair, alpha))
        assert set(made) == set(SHAPES)
        for name, tensor in made.items():
            own = wanted if name in pair.names else finetuned
            assert torch.equal(tensor.view(bits), own[name].view(bits)), name


def test_null_model_deals_out_the_changes_of_each_tensor_anew(tmp_path: Path) -> None:
    base, finetuned = models(4, follows=False)
    found = []
    for piece in (1000, 37):
        pair = pair_of(tmp_path, base, finetuned, piece=piece)
        found.append({n: _dealt(pair, n, seed=1) for n in pair.names})
    for name in pair.names:
        d = (finetuned[name] - base[name]).flatten().double().square()
        assert torch.equal(found[0][name], found[1][name])
        assert torch.equal(found[0][name].sort().values, d.sort().values)
        assert (found[0][name] == d).double().mean() < 0.01
        assert not torch.equal(found[0][name], _dealt(pair, name, seed=2))


def _dealt(pair: Pair, name: str, seed: int) -> torch.Tensor:
    d = permutation_null.change(pair, name)
    d = permutation_null.shuffled(d, permutation_null.start(seed, 0, name, d))
    return torch.cat([values[2] for _, values in permutation_null.dealt(pair, RELATIVE, 1e-8, name, d)])


def test_changes_of_a_large_tensor_may_come_to_lie_anywhere_in_it() -> None:
    number = 1_200_000
    places = permutation_null.shuffled(torch.arange(number, dtype=torch.float32), seed=3)
    assert torch.equal(places.sort().values, torch.arange(number, dtype=torch.float32))
    assert abs(float(torch.corrcoef(torch.stack([places, torch.arange(float(number))]))[0, 1])) < 0.005
    # Tenths of the tensor before and after: a tenth of a tenth each, give or take.
    moved = torch.bincount((places * 10 // number).long() * 10 + torch.arange(number) * 10 // number, minlength=100)
    assert ((moved / number - 0.01).abs() < 0.0005).all()
    following = places.diff().abs()
    assert float((following == 1).double().mean()) < 1e-5


def test_null_shares_equal_a_sort_of_the_permuted_changes(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *models(5, follows=False), piece=1000)
    ratios = [1, 5, 20, 60]
    found = permutation_null.measure(pair, RELATIVE, ratios, 1e-8, seed=0)
    d = np.sqrt(np.concatenate([_dealt(pair, name, 0).numpy() for name in pair.names]))
    p = torch.cat([pair.base.get(name).flatten() for name in pair.names]).double().numpy()
    r = d / (np.abs(p) + 1e-8)
    ranking = np.argsort(-r, kind="stable")
    for ratio in ratios:
        first = ranking[: int(len(ranking) * ratio / 100)]
        for column, values in (("sum_r", r), ("sum_abs_d", d), ("sum_d2", d * d)):
            assert found.shares[ratio][column] == pytest.approx(values[first].sum() / values.sum(), abs=5e-4)
        assert found.tensors[concentration.top(ratio)].sum() == pytest.approx(len(first))


@pytest.mark.parametrize("follows", [False, True])
def test_null_model_tells_arithmetic_from_changes_that_follow_the_weights(tmp_path: Path, follows: bool) -> None:
    pair = pair_of(tmp_path, *models(6, follows), piece=5000)
    real = concentration.measure(pair, RELATIVE, cuts_of(pair, "relative", [20]), 1e-8).shares[20]["sum_r"]
    null = permutation_null.measure(pair, RELATIVE, [20], 1e-8, seed=0).shares[20]["sum_r"]
    assert null > 0.8  # few |p| near zero carry most of the sum, whatever is divided by them
    assert real < 0.3 if follows else abs(real - null) < 0.04


def test_several_draws_of_the_null_model_have_a_mean_and_a_spread_of_their_own(tmp_path: Path) -> None:
    base, finetuned = models(6, follows=False)
    pair = pair_of(tmp_path, base, finetuned, piece=5000)
    one, *several = (permutation_null.measure(pair, RELATIVE, [1, 20], 1e-8, 0, draws) for draws in (1, 3, 40))
    assert one.spread == {}
    for found in several:
        pd.testing.assert_frame_equal(found.tensors, one.tensors)  # of the first draw
    few, many = (found.spread[1]["sum_r"] for found in several)
    assert 0.2 < few / many < 2.5
    assert abs(one.shares[1]["sum_r"] - several[1].shares[1]["sum_r"]) < 4 * many
    # Another model fine-tuned from the same base has other permutations, and so errors of its own.
    d = permutation_null.change(pair, name := pair.names[0])
    starts = {permutation_null.start(0, draw, name, x) for draw in (0, 1) for x in (d, d * 2)}
    assert len(starts) == 4


def test_places_share_everything_out(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *models(7, follows=False))
    tensors = concentration.measure(pair, RELATIVE, cuts_of(pair, "relative", [20]), 1e-8).tensors
    null = permutation_null.measure(pair, RELATIVE, [20], 1e-8, seed=0).tensors
    rows = pd.DataFrame(concentration.by_layer(tensors.join(null.drop(columns="name").add_prefix(concentration.NULL))))
    assert set(zip(rows["layer"], rows["module"], strict=True)) == {("0", "q_proj"), ("0", "up_proj"), ("1", "up_proj")}
    shares = rows[rows["metric"] != "place_unchanged"].groupby("metric")["value"].sum()
    assert set(shares.index) == set(concentration.SHARES)
    np.testing.assert_allclose(shares, 1)
    one = rows[(rows["metric"] == "place_elements") & (rows["layer"] == "1")]
    assert one["value"].item() == pytest.approx(4001 / (9900 + 7000 + 4001))
