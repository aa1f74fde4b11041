"""Settings of the facts: where they come from and how they are prepared."""

from typing import Literal

from pydantic import Field

from sftlens.settings import Location, Settings


class Sample(Settings):
    """How many questions of each relation to keep, drawn with a seed; 0 keeps all."""

    train: int = Field(0, ge=0)
    """Facts of each in-domain relation for training."""
    dev: int = Field(0, ge=0)
    """Facts of each in-domain relation of the dev split."""
    test: int = Field(0, ge=0)
    """Facts of each in-domain relation for testing."""
    testood: int = Field(0, ge=0)
    """Facts of each out-of-domain relation for testing."""
    seed: int = 0
    """Seed of the draw."""


class FactsSettings(Settings):
    """Which questions a study asks."""

    source: Literal["world", "entity_questions"] = "world"
    """`world` is the embedded invented world; `entity_questions` reads the published data set."""
    path: Location | None = None
    """Folder or zip of EntityQuestions; unset: the environment variable ENTITY_QUESTIONS_DIR."""
    aliases: Location | None = None
    """YAML file that maps an object to its other accepted names; unset: no aliases."""
    allow_unknown_aliases: bool = False
    """Accept aliases of names that answer no question of the data set (a file made for other questions too)."""
    remove_train_from_test: bool = False
    """Drop test questions that also stand in train (the paper's authors left them in: 136 of the prepared ones)."""
    sample: Sample = Sample()
    """Keep only a sample of the questions of each relation."""
