"""The cells of a study and what is measured on each: a union of small products, each cell once."""

import itertools
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sftlens.config.axes import Axes, Restoration
from sftlens.config.study import Study
from sftlens.doubts import DOUBTS
from sftlens.errors import ConfigError
from sftlens.strategies import DEFAULT, STRATEGIES

BASE = "base"
FEWSHOT = "fewshot"
INSTRUCT = "instruct"
"""The instruct model that was made from the base, elsewhere."""
UNTRAINED = (BASE, FEWSHOT, INSTRUCT)
"""What stands in the place of a strategy at n = 0."""


@dataclass(frozen=True)
class Cell:
    """One model, fine-tuned or not: a row of every axis of training."""

    model: str
    train_set: str
    """D0..D4, mixed, a recipe or a task; `base` at n = 0."""
    scale: str
    """Number of examples, `all`, or 0."""
    seed: int
    strategy: str = DEFAULT
    """One of the registry `strategies`, perhaps with a learning rate (`full@3e-05`); at n = 0 one of UNTRAINED."""

    def __post_init__(self) -> None:
        """Raise ConfigError for an unknown strategy: it must not be taken for the base model."""
        if self.trained:
            STRATEGIES.get(way(self.strategy)[0])
        elif self.strategy not in ("", *UNTRAINED):
            raise ConfigError(f"strategy {self.strategy!r}: a base model (n = 0) has none but {', '.join(UNTRAINED)}")

    @property
    def path(self) -> str:
        """Folder of the cell below the study's; that of its model for what has no training set."""
        own = f"/{self.train_set}/n{self.scale}/seed{self.seed}/{self.strategy}"
        return self.model + (own if self.train_set else "")

    @property
    def trained(self) -> bool:
        """Whether the cell has a training run of its own."""
        return is_trained(self.scale)


@dataclass(frozen=True)
class Product:
    """One summary that the study asks for; the axes that do not apply are empty."""

    stage: str
    """mastery, mastery_quality, finetune, evaluate, divergence, changes, compare_changes or restore."""
    cell: Cell
    criterion: str = ""
    region: str = ""
    ratio: float | None = None

    @property
    def place(self) -> str:
        """Where its results lie in the cell's folder; with `-` for `/` it is also the name of its log."""
        measure = f"{self.criterion}-{self.region}"
        deep = {"changes": f"changes/{measure}", "restore": f"restore/{measure}/k{number(self.ratio or 0)}"}
        return deep.get(self.stage, self.stage)

    @property
    def path(self) -> str:
        """Summary below the study's folder (mastery and its quality lie elsewhere: see paths)."""
        return f"{self.cell.path}/{self.place}{'.json' if self.stage == 'finetune' else '/summary.json'}"

    @property
    def axes(self) -> dict[str, Any]:
        """Columns of results.parquet that name this product, in their order."""
        return {**vars(self.cell), **{name: value for name, value in vars(self).items() if name != "cell"}}


def is_trained(scale: str) -> bool:
    """Whether a scale is one of a training run: n = 0 is the base model, and mastery has none."""
    return scale not in ("", "0")


def way(strategy: str) -> tuple[str, float | None]:
    """Return the name of a cell's strategy, and the learning rate of its own, if it has one."""
    name, _, rate = strategy.partition("@")
    return name, float(rate) if rate else None


def full(strategy: str) -> str:
    """Return the strategy of the cell that was trained by full fine-tuning at the same learning rate."""
    return DEFAULT + strategy.removeprefix(way(strategy)[0])


def pilot(study: Study, cell: Cell) -> Cell | None:
    """Return the cell whose model the strategy of a cell looks at, trained at the same learning rate, if it does."""
    name, _ = way(cell.strategy)
    asked = STRATEGIES.get(name).pilot
    if not asked:
        return None
    own = getattr(study.strategies, name).model_dump()
    axes: dict[str, Any] = {axis: value.format(**own) for axis, value in asked.items()}
    axes["strategy"] += cell.strategy.removeprefix(name)
    return replace(cell, **axes)


def number(value: float) -> str:
    """Return a ratio as it stands in a path: no needless zeros."""
    return f"{value:g}"


def products(study: Study) -> dict[str, list[Product]]:
    """Return what each experiment asks for, in a fixed order; an experiment that asks for nothing has no entry."""
    asked = study.experiments
    found: dict[str, list[Product]] = {}
    if asked.mastery:
        cells = [Cell(m, "", "", 0, "") for m in asked.mastery.models or study.models]
        found["mastery"] = [Product("mastery_quality", cell) for cell in cells]
    if scaling := asked.scaling:
        names = [BASE, FEWSHOT, INSTRUCT] if scaling.shots else [BASE, INSTRUCT]
        bases = _bases(study, scaling, *names) if scaling.base else []
        found["scaling"] = [Product("evaluate", cell) for cell in [*bases, *_cells(study, scaling)]]
    if divergence := asked.divergence:
        bases = _bases(study, divergence, BASE) if divergence.base else []
        found["divergence"] = [Product("divergence", cell) for cell in [*bases, *_cells(study, divergence)]]
    if restoration := asked.restoration:
        grid = list(itertools.product(restoration.criteria, restoration.regions, restoration.ratios))
        found["restoration"] = [
            made for cell in _cells(study, restoration)
            for made in (Product("evaluate", cell), *(Product("restore", cell, *place) for place in grid))
        ]  # fmt: skip
    if ways := asked.strategies:
        # The base, every cell, and the post-hoc methods on full fine-tuning.
        cells = list(_cells(study, ways))
        everyone = [*_bases(study, ways, BASE), *cells]
        made = [Product(stage, cell) for cell in everyone for stage in ("evaluate", "divergence")]
        made += [Product("evaluate", cell) for cell in _bases(study, ways, INSTRUCT)]
        made += [Product("changes", cell, "relative", region) for cell in cells for region in ways.regions]
        posthoc = itertools.product(ways.criteria, ways.regions, ways.ratios)
        plain = [cell for cell in cells if cell.strategy == DEFAULT]
        found["strategies"] = made + [Product("restore", cell, *place) for place in posthoc for cell in plain]
    if axes := asked.concentration:
        pairs = list(itertools.product(axes.criteria, axes.regions))
        found["concentration"] = [Product("changes", cell, *place) for cell in _cells(study, axes) for place in pairs]
    if blocks := asked.blocks:
        found["blocks"] = []
        for cell in _cells(study, blocks):
            layers = study.models[cell.model].shape.layers
            regions = [f"layers{a}-{min(a + blocks.size, layers) - 1}" for a in range(0, layers, blocks.size)]
            found["blocks"] += [Product("evaluate", cell)]
            found["blocks"] += [Product("restore", cell, "relative", region, 100.0) for region in regions]
    for doubt in DOUBTS:
        if axes := getattr(asked, doubt.name):
            cells = list(_cells(study, axes))
            bases = _bases(study, axes, BASE)
            found[doubt.name] = [Product(stage, cell) for cell in [*bases, *cells] for stage in doubt.stages]
            if doubt.of_model:
                found[doubt.name] += [Product("finetune", cell) for cell in cells]
                found[doubt.name] += [Product(doubt.of_model, Cell(base.model, "", "", 0, "")) for base in bases]
            if isinstance(axes, Restoration):
                grid = list(itertools.product(axes.criteria, axes.regions, axes.ratios))
                found[doubt.name] += [Product("restore", cell, *place) for cell in cells for place in grid]
    return {name: wanted for name, wanted in found.items() if wanted}


def distinct(study: Study, experiments: Container[str] | None = None) -> list[Product]:
    """Return every product of a study, or of some of its experiments, once; training runs and mastery included."""
    found = products(study)
    asked = [p for name, wanted in found.items() if experiments is None or name in experiments for p in wanted]
    cells = list(dict.fromkeys(product.cell for product in asked))
    pilots = (pilot(study, cell) for cell in cells if cell.trained)
    cells += [cell for cell in dict.fromkeys(pilots) if cell and cell not in cells]
    trained = [Product("finetune", cell) for cell in cells if cell.trained]
    models = dict.fromkeys(cell.model for cell in cells)
    bases = [Product("mastery", Cell(m, "", "", 0, "")) for m in models]
    return list(dict.fromkeys([*bases, *trained, *asked]))


def cells_of(study: Study, stage: str, model: str) -> list[Cell]:
    """Return the cells of a model that a stage which runs once a model is about, once, in the order of the grid."""
    found = products(study)
    asked = [p for doubt in DOUBTS if doubt.of_model == stage for p in found.get(doubt.name, [])]
    return list(dict.fromkeys(p.cell for p in asked if p.cell.trained and p.cell.model == model))


def quota_needs(study: Study, model: str) -> dict[str, int]:
    """Return the largest scale of each bucket that a model is trained on; nothing unless its probing has a quota."""
    needs: dict[str, int] = {}
    for _, axes in study.experiments if study.probing.quota else ():
        for cell in _cells(study, axes) if isinstance(axes, Axes) else ():
            for one in (cell, pilot(study, cell)):
                if one and one.model == model and one.train_set not in study.tasks:
                    needs[one.train_set] = max(int(one.scale), needs.get(one.train_set, 0))
    return dict(sorted(needs.items()))


def _bases(study: Study, axes: Axes, *names: str) -> list[Cell]:
    """Return the cells of these names at n = 0, model by model; INSTRUCT only where a model has one."""
    named = itertools.product(axes.models or study.models, names)
    return [Cell(m, BASE, "0", 0, name) for m, name in named if name != INSTRUCT or study.models[m].instruct]


def _cells(study: Study, axes: Axes) -> Iterator[Cell]:
    rates = ["", *(f"@{rate:g}" for rate in axes.learning_rates if rate != study.finetuning.learning_rate)]
    ways = [name + rate for name in axes.strategies for rate in rates]
    for model in axes.models or study.models:
        for train_set in axes.train_sets:
            for scale in axes.scales:
                for seed in axes.all_seeds if scale == "all" else axes.seeds:
                    yield from (Cell(model, train_set, str(scale), seed, name) for name in ways)
