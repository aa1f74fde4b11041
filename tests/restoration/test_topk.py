"""Selection, application and concentration against a brute-force stable sort of all elements at once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from restoration_models import SETTINGS, SHAPES, Tensors, cuts_of, drawn, gaussian, pair_of
from sftlens.changes import concentration
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ConfigError, DataError
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair
from sftlens.restoration.ranking import INCREMENT, mixed_, signed

RATIOS = [0, 0.3, 1, 3, 5, 10, 20, 33.3, 40, 60, 99.9, 100]


def flat(tensors: Tensors, names: list[str]) -> np.ndarray:
    return np.concatenate([tensors[name].float().flatten().numpy() for name in names])


def values(criterion: str, p: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return the values of a criterion, the largest first, computed by numpy."""
    change = np.abs(s - p) / (np.abs(p) + np.float32(1e-8))
    return {"relative": change, "bottom": -change, "absolute": np.abs(s - p), "smallest": -np.abs(p)}[criterion]


def brute_force(criterion: str, base: Tensors, finetuned: Tensors, names: list[str]) -> np.ndarray:
    """Return the indices of all elements, first to restore first, ties in the order of names and elements."""
    return np.argsort(-values(criterion, flat(base, names), flat(finetuned, names)), kind="stable")


def selected(pair: Pair, criterion: str, cut: topk.Cut) -> np.ndarray:
    """Return the selected elements of the region, bool, tensors in the order of ties."""
    ranked = criteria.make(criterion, SETTINGS)
    keys = ((piece, topk.keys_of(ranked, piece)) for piece in pair.pieces())
    return np.concatenate([cut.mask(piece.name, ranks, piece.start).numpy() for piece, ranks in keys])


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("criterion", ["relative", "absolute", "bottom", "smallest"])
@pytest.mark.parametrize("seed", range(3))
def test_selection_equals_a_stable_sort(tmp_path: Path, criterion: str, seed: int, dtype: torch.dtype) -> None:
    base, finetuned = (finite(tensors) for tensors in drawn(seed, dtype))
    pair = pair_of(tmp_path, base, finetuned)
    ranking = brute_force(criterion, base, finetuned, pair.names)
    for ratio, cut in zip(RATIOS, cuts_of(pair, criterion, RATIOS), strict=True):
        wanted = np.zeros(len(ranking), dtype=bool)
        wanted[ranking[: int(len(ranking) * ratio / 100 + 1e-9)]] = True
        assert cut.elements == wanted.sum()
        np.testing.assert_array_equal(selected(pair, criterion, cut), wanted, err_msg=f"{criterion} {ratio}")


def finite(tensors: Tensors) -> Tensors:
    return {name: tensor.nan_to_num(posinf=2.0, neginf=-2.0) for name, tensor in tensors.items()}


@pytest.mark.parametrize("criterion", criteria.CRITERIA.names())
def test_selections_are_nested_and_do_not_depend_on_pieces(tmp_path: Path, criterion: str) -> None:
    base, finetuned = drawn(5, torch.bfloat16)
    small, large = (pair_of(tmp_path, base, finetuned, piece=piece) for piece in (1, 1 << 20))
    assert cuts_of(small, criterion, RATIOS) == cuts_of(large, criterion, RATIOS)
    masks = [selected(small, criterion, cut) for cut in cuts_of(small, criterion, RATIOS)]
    assert all((less <= more).all() for less, more in pairwise(masks))
    assert not masks[0].any() and masks[-1].all()


@pytest.mark.parametrize("region", ["transformer", "all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restored_model_equals_brute_force_bit_for_bit(tmp_path: Path, dtype: torch.dtype, region: str) -> None:
    base, finetuned = drawn(1, dtype)
    pair = pair_of(tmp_path, base, finetuned, region)
    ranking = brute_force("relative", base, finetuned, pair.names)
    for cut in cuts_of(pair, "relative", RATIOS):
        restorer = Restorer(pair, criteria.make("relative", SETTINGS), cut)
        wanted = np.zeros(len(ranking), dtype=bool)
        wanted[ranking[: cut.elements]] = True
        parts = np.split(wanted, np.cumsum([pair.size(name) for name in pair.names]))
        masks = dict(zip(pair.names, parts, strict=False))
        # Tensors arrive in any order while a model loads: here backwards.
        for name in sorted(finetuned, reverse=True):
            mask = torch.from_numpy(masks.get(name, np.zeros(SHAPES[name], bool))).reshape(SHAPES[name])
            expected = torch.where(mask, base[name], finetuned[name])
            assert torch.equal(bits(restorer(name, finetuned[name])), bits(expected))


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
@pytest.mark.parametrize("criterion", ["relative", "random"])
def test_a_base_of_another_type_is_restored_as_cast(tmp_path: Path, criterion: str, stored: torch.dtype) -> None:
    """Training in bf16 starts from the cast base, so that is what an element is ranked by and restored to."""
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(shape, generator=generator).to(stored) for name, shape in SHAPES.items()}
    cast = {name: tensor.bfloat16() for name, tensor in base.items()}
    tuned = {name: (t + torch.randn(t.shape, generator=generator) / 8).bfloat16() for name, t in cast.items()}
    pair, wanted = pair_of(tmp_path / "stored", base, tuned, "all"), pair_of(tmp_path / "cast", cast, tuned, "all")
    assert cuts_of(pair, criterion, RATIOS) == cuts_of(wanted, criterion, RATIOS)
    for ratio, source in ((0, tuned), (100, cast)):
        restorer = Restorer(pair, criteria.make(criterion, SETTINGS), cuts_of(pair, criterion, [ratio])[0])
        for name, tensor in tuned.items():
            assert torch.equal(bits(restorer(name, tensor)), bits(source[name])), name


def test_restoring_does_not_change_its_input(tmp_path: Path) -> None:
    base, finetuned = drawn(2, torch.float32)
    pair = pair_of(tmp_path, base, finetuned)
    before = {name: tensor.clone() for name, tensor in finetuned.items()}
    restorer = Restorer(pair, criteria.make("relative", SETTINGS), cuts_of(pair, "relative", [100])[0])
    for name in finetuned:
        restorer(name, finetuned[name])
        assert torch.equal(bits(finetuned[name]), bits(before[name]))


def test_ties_go_to_the_first_tensor_by_name_then_to_the_first_elements(tmp_path: Path) -> None:
    base = {f"layers.{i}.w": torch.zeros(4) for i in "ab"}
    pair = pair_of(tmp_path, base, {name: tensor + 1 for name, tensor in base.items()}, piece=3)
    cut = cuts_of(pair, "relative", [75])[0]
    assert (cut.ties, cut.last, cut.end) == (6, "layers.b.w", 2)
    np.testing.assert_array_equal(selected(pair, "relative", cut), [True] * 6 + [False] * 2)


def test_the_example_of_the_module(tmp_path: Path) -> None:
    tuned = torch.tensor([7.0, 3, 9, 7, 1, 7, 8, 2, 7, 5])
    pair = pair_of(tmp_path, {"layers.0.w": torch.zeros(10)}, {"layers.0.w": tuned})
    cut = cuts_of(pair, "absolute", [40])[0]
    assert (cut.elements, cut.ties, cut.end) == (4, 2, 4)
    assert np.flatnonzero(selected(pair, "absolute", cut)).tolist() == [0, 2, 3, 6]


def test_negative_zero_ranks_as_zero(tmp_path: Path) -> None:
    base = {"layers.0.w": torch.tensor([-0.0, 0.0, -0.0, 1.0])}
    pair = pair_of(tmp_path, base, {"layers.0.w": torch.tensor([0.0, -0.0, -0.0, 1.0])})
    for criterion in ("relative", "absolute", "smallest"):
        assert selected(pair, criterion, cuts_of(pair, criterion, [50])[0]).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("elements", "ratio", "wanted"), [(1000, 0.3, 3), (100, 29, 29), (99, 1, 0), (7, 100, 7)])
def test_count_is_the_floor_of_the_written_decimal(elements: int, ratio: float, wanted: int) -> None:
    assert topk.count(elements, ratio) == wanted


@pytest.mark.parametrize("ratio", [-1, 100.1, float("nan"), float("inf")])
def test_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"not in \[0, 100\]"):
        topk.count(10, ratio)


def test_random_order_is_the_published_generator_and_depends_on_seed_and_name() -> None:
    state = torch.tensor([signed(1234567 + INCREMENT), signed(1234567 + 2 * INCREMENT)])
    assert [value % 2**64 for value in mixed_(state).tolist()] == [6457827717110365317, 3203168211198807973]
    zeros = torch.zeros(1000)
    criterion = criteria.make("random", SETTINGS)
    keys = criterion("a", zeros, zeros)
    assert torch.equal(keys[400:], criterion("a", zeros[400:], zeros[400:], start=400))
    assert (keys >= 0).all() and len(keys.unique()) == 1000
    assert not torch.equal(keys, criterion("b", zeros, zeros))
    assert not torch.equal(keys, criteria.make("random", RestorationSettings(seed=1))("a", zeros, zeros))
    assert abs(float(keys.double().mean()) / 2**30 - 1) < 0.1


def test_histogram_of_other_weights_is_refused(tmp_path: Path) -> None:
    base, finetuned = drawn(3, torch.float32)
    pair = pair_of(tmp_path, base, finetuned)
    counts = topk.histogram(pair, criteria.make("absolute", SETTINGS))
    with pytest.raises(DataError, match=r"other weights, criterion or region.*sftlens changes"):
        topk.cuts(pair, criteria.make("relative", SETTINGS), counts, [20])


def test_the_histogram_finds_cuts_among_unchanged_elements_and_in_neighbouring_bins(tmp_path: Path) -> None:
    # The least keys are those of elements that training left alone; the others fall into bins side by side.
    base = {"layers.0.w": torch.ones(1000)}
    steps = torch.zeros(1000).index_copy_(0, torch.arange(300), torch.linspace(0.5, 0.6, 300))
    pair = pair_of(tmp_path, base, {"layers.0.w": base["layers.0.w"] + steps})
    criterion = criteria.make("absolute", SETTINGS)
    ratios = [1, 5, 10, 15, 20, 25, 29, 40, 60]
    counts = topk.histogram(pair, criterion)
    assert counts[0] == 700 and (np.diff(np.flatnonzero(counts)[1:]) == 1).any()
    assert list(topk.cuts(pair, criterion, counts, ratios)) == cuts_of(pair, "absolute", ratios)


@pytest.mark.parametrize("criterion", ["relative", "absolute"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_concentration_equals_brute_force(tmp_path: Path, dtype: torch.dtype, criterion: str) -> None:
    base, finetuned = gaussian(4, dtype)
    pair = pair_of(tmp_path, base, finetuned)
    found = concentration.measure(
        pair, criteria.make(criterion, SETTINGS), cuts_of(pair, criterion, [1, 5, 20, 60]), 1e-8
    )
    p, s = flat(base, pair.names), flat(finetuned, pair.names)
    ranking = brute_force(criterion, base, finetuned, pair.names)
    d = s.astype(np.float64) - p.astype(np.float64)
    columns = {"sum_r": values("relative", p, s).astype(np.float64), "sum_abs_d": np.abs(d), "sum_d2": d**2}
    for ratio, shares in found.shares.items():
        first = ranking[: int(len(ranking) * ratio / 100)]
        for column, share in shares.items():
            assert share == pytest.approx(columns[column][first].sum() / columns[column].sum(), rel=1e-13)
    ends = np.cumsum([pair.size(name) for name in pair.names])[:-1]
    for column, elements in columns.items():
        np.testing.assert_allclose(found.tensors[column], [x.sum() for x in np.split(elements, ends)], rtol=1e-13)
    assert found.tensors["unchanged"].tolist() == [int((x == 0).sum()) for x in np.split(d, ends)]


def test_table_of_tensors_names_layers_and_modules(tmp_path: Path) -> None:
    base, finetuned = drawn(6, torch.float32)
    pair = pair_of(tmp_path, base, finetuned, "all")
    criterion = criteria.make("relative", SETTINGS)
    rows = concentration.measure(pair, criterion, cuts_of(pair, "relative", [1]), 1e-8).tensors.set_index("name")
    assert list(rows.reset_index().columns) == [*concentration.COLUMNS, "top_1"]
    assert rows.loc["model.layers.10.mlp.up_proj.weight", ["layer", "module", "elements"]].tolist() == [
        10,
        "up_proj",
        50,
    ]
    assert rows["layer"].isna().sum() == 2 and rows.loc["lm_head.weight", "module"] == "lm_head"


def test_elements_whose_base_is_zero_are_counted_with_what_they_hold(tmp_path: Path) -> None:
    """One change of 1e-3 on a base of 0 outweighs all others in the sum of r, and nothing else."""
    base = {"layers.0.w": torch.full((1000,), 0.5), "layers.1.w": torch.full((1000,), 0.5)}
    base["layers.1.w"][[3, 500, 999]] = 0.0
    pair = pair_of(tmp_path, base, {name: tensor + 1e-3 for name, tensor in base.items()})
    found = concentration.measure(pair, criteria.make("relative", SETTINGS), cuts_of(pair, "relative", [1]), 1e-8)
    held = found.tensors.set_index("name")[[concentration.ZERO_BASE, *concentration.HELD]]
    assert held.loc["layers.0.w"].tolist() == [0, 0, 0, 0]
    assert held.loc["layers.1.w"].tolist() == pytest.approx([3, 3e5, 3e-3, 3e-6], rel=1e-3)
    share = held["zero_base_sum_r"].sum() / found.tensors["sum_r"].sum()
    assert share == pytest.approx(found.shares[1]["sum_r"], abs=1e-4) and share > 0.9999


def test_nothing_changed_has_no_shares(tmp_path: Path) -> None:
    base, _ = drawn(7, torch.float32)
    pair = pair_of(tmp_path, base, base)
    found = concentration.measure(pair, criteria.make("relative", SETTINGS), cuts_of(pair, "relative", [1, 20]), 1e-8)
    assert found.shares == {}
    assert (found.tensors["unchanged"] == found.tensors["elements"]).all()


def test_a_histogram_that_puts_an_element_on_the_other_side_of_a_cut_is_refused(tmp_path: Path) -> None:
    """Its bins of cuts hold what they should; what lies above them does not."""
    base = {"layers.0.w": torch.zeros(100)}
    pair = pair_of(tmp_path, base, {"layers.0.w": torch.arange(1.0, 101)})
    criterion = criteria.make("absolute", SETTINGS)
    counts = topk.histogram(pair, criterion)
    bins = np.flatnonzero(counts)
    counts[bins[-1]] -= 1
    counts[bins[0]] += 1
    with pytest.raises(DataError, match="other weights, criterion or region"):
        topk.cuts(pair, criterion, counts, [50])
