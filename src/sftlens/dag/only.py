"""A choice of a study's experiments for one run: `--config only=scaling,restoration`.

A choice narrows what a run asks for and nothing else: the study, its paths and the settings of its jobs stay
those of the whole study, so that choosing otherwise reruns nothing.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from sftlens.config.study import Study
from sftlens.dag.cells import Product, distinct, products
from sftlens.dag.targets import wanted
from sftlens.errors import ConfigError


@dataclass(frozen=True)
class Selection:
    """The experiments of a study that one run asks for."""

    study: Study
    experiments: tuple[str, ...]
    """Their names, in the order of the study."""

    @property
    def whole(self) -> bool:
        """Whether these are all experiments of the study."""
        return self.experiments == tuple(products(self.study))

    @property
    def products(self) -> list[Product]:
        """Every product that they ask for once, training runs and mastery included."""
        return distinct(self.study, self.experiments)

    @property
    def targets(self) -> dict[str, list[Product]]:
        """The figures and tables that can be drawn from nothing but these, with the products behind each."""
        found = set(self.products)
        return {name: asked for name, asked in wanted(self.study).items() if found.issuperset(asked)}


def select(study: Study, only: object = None) -> Selection:
    """Return the chosen experiments of a study; `only` is a list of names, or a text with commas; None: all.

    Raises ConfigError for a name that is none of the study's experiments.
    """
    has = list(products(study))
    if only is None:
        return Selection(study, tuple(has))
    parts = only if isinstance(only, Sequence) and not isinstance(only, str) else str(only).split(",")
    names = [name for part in parts if (name := str(part).strip())]
    if not names:
        raise ConfigError(f"only names no experiment; name some of {', '.join(has)} (only=A,B), or leave it out")
    known = list(type(study.experiments).model_fields)
    for name in names:
        if name in has:
            continue
        if name in known:
            why = f"the study has no experiment {name!r}; add experiments.{name}, or choose from {', '.join(has)}"
        else:
            near = [*difflib.get_close_matches(name, has, 1, 0.5), *difflib.get_close_matches(name, known, 1, 0.5)]
            hint = f"did you mean {near[0]!r}?" if near else f"the study has {', '.join(has)}"
            why = f"there is no experiment {name!r}; {hint}"
        raise ConfigError(f"only={','.join(names)}: {why}")
    return Selection(study, tuple(name for name in has if name in names))
