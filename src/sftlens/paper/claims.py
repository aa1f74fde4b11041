"""The paper's claims as data (`claims.yaml`): what each says, its test, and a hash that shows that it stood first."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Literal

from sftlens.errors import ConfigError
from sftlens.settings import Settings
from sftlens.yaml_file import read_mapping

FILE = Path(__file__).with_name("claims.yaml")
TestedOn = Literal["test", "testood", "train", "both", "parameters", "tasks"]


class Claim(Settings):
    """One claim of the paper."""

    claim: str
    """What it says, in our words."""
    source: str
    """Where the paper says it."""
    primary: str
    """The one statistic that decides, in words; `primaries.PRIMARIES` computes it."""
    tested_on: list[TestedOn]
    """Each is judged by itself."""
    printed: str
    """The size of the effect as the paper words it."""
    numbers: str
    """What the paper's own numbers give for it."""
    second: str = ""
    """Further conditions that are printed beside the verdict and do not enter it."""


class Specification(Settings):
    """All claims, and the constants of their tests."""

    confidence: float
    """Simultaneous over the primary statistics, one a claim (Bonferroni)."""
    delta: float
    """Points below which a difference of accuracies does not matter."""
    small: int
    """The n that the paper calls best."""
    largest: int
    """n* is the largest numbered n up to this one that every training bucket fills; `all` never enters."""
    ratio: float
    """k of the claims about restoration, in percent."""
    seeds: int
    """Fewer allow no verdict."""
    claims: dict[str, Claim]

    @property
    def alpha(self) -> float:
        """Probability that a two-sided interval of one claim misses."""
        return (1 - self.confidence) / len(self.claims)

    @property
    def sha256(self) -> str:
        """Hash of the content, whatever its layout and comments."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


@cache
def specification() -> Specification:
    """Return the claims. Raises ConfigError when the file is damaged."""
    return Specification.model_validate(read_mapping(FILE, ConfigError))
