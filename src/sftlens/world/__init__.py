"""The embedded world: invented facts with known exposures, and the corpus a tiny model learns them from."""

from sftlens.world.corpus import WRAPPERS, documents, seen_indices
from sftlens.world.files import write
from sftlens.world.worldfacts import Fact, World, build, check

__all__ = ["WRAPPERS", "Fact", "World", "build", "check", "documents", "seen_indices", "write"]
