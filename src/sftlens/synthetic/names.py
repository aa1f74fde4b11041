"""Invented, readable names: words that never contain each other, and the patterns that combine them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np

from sftlens.errors import DataError
from sftlens.yaml_file import read_mapping

FILE = Path(__file__).with_name("words.yaml")
WORDS = {name: tuple(str(words).split()) for name, words in read_mapping(FILE, DataError).items()}
"""The lists of words.yaml: syllables of invented words, and real words that names are made with."""
PLAIN = {
    pool: WORDS[pool] for pool in ("adjective", "noun", "organisation_ending", "place_beginning", "series", "numeral")
}
"""Pools of real words."""

INVENTED = {"first": 160, "surname": 260, "stem": 60, "noun": 0, "city": 150, "region": 80, "country": 40}
"""Invented words of each pool in a small world (names of places need stems)."""

ENDINGS = {place: WORDS[f"{place}_endings"] for place in ("city", "region", "country")}

CODA_SHARE = 0.35
PATIENCE = 20
"""Rejected words in a row after which words get one more syllable: the short ones are used up."""


@dataclass(frozen=True)
class Pattern:
    """A kind of name: a format string, the pool of each of its words, and the pool that grows with need."""

    form: str
    pools: tuple[str, ...]
    grows: str


PATTERNS = {
    "person": Pattern("{} {}", ("first", "surname"), "surname"),
    "organisation": Pattern("{} {}", ("surname", "organisation_ending"), "surname"),
    "place": Pattern("{} {}", ("place_beginning", "stem"), "stem"),
    "artwork": Pattern("{} {} of {}", ("adjective", "noun", "surname"), "surname"),
    "title": Pattern("The {} {}", ("adjective", "noun"), "noun"),
    "product": Pattern("{} {} {}", ("surname", "series", "numeral"), "surname"),
}
"""Every word is shared by many names, so no single token identifies a subject."""


class WordMaker:
    """Makes invented words of which none contains another or one of the words to avoid (ignoring case)."""

    def __init__(self, rng: np.random.Generator, avoid: Iterable[str]) -> None:
        self._rng = rng
        self._words = {word.lower() for word in avoid}
        self._parts = {part for word in self._words for part in _parts(word)}

    def take(self, count: int, endings: Sequence[str] = ()) -> list[str]:
        """Return `count` new capitalised words, each with one of `endings` where there are any."""
        found: list[str] = []
        rejected = 0
        while len(found) < count:
            syllables = (1 if endings else 2) + rejected // PATIENCE
            word = "".join(self._pick(WORDS["onsets"]) + self._pick(WORDS["vowels"]) for _ in range(syllables))
            word += self._pick(WORDS["codas"]) if self._rng.random() < CODA_SHARE else ""
            word += self._pick(endings) if endings else ""
            contains = any(part in self._words for part in _parts(word))
            if contains or word in self._parts or word in WORDS["real_countries"]:
                rejected += 1
                continue
            rejected = 0
            self._words.add(word)
            self._parts.update(_parts(word))
            found.append(word.capitalize())
        return found

    def _pick(self, choices: Sequence[str]) -> str:
        return choices[int(self._rng.integers(len(choices)))]


def _parts(word: str) -> Iterator[str]:
    return (word[i:j] for i in range(len(word)) for j in range(i + 3, len(word) + 1))


def make_pools(rng: np.random.Generator, needed: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the word pools, so large that the names `needed` of each kind use at most half of the combinations."""
    counts = dict(INVENTED)
    for kind, pattern in PATTERNS.items():
        sizes = {pool: len(PLAIN.get(pool, ())) + counts.get(pool, 0) for pool in pattern.pools}
        others = prod(size for pool, size in sizes.items() if pool != pattern.grows)
        counts[pattern.grows] += max(0, ceil(2 * needed.get(kind, 0) / others) - sizes[pattern.grows])
    maker = WordMaker(rng, [word for plain in PLAIN.values() for word in plain])
    pools = {pool: list(plain) for pool, plain in PLAIN.items()}
    for pool, count in counts.items():
        pools[pool] = pools.get(pool, []) + maker.take(count, ENDINGS.get(pool, ()))
    return pools


def make_names(rng: np.random.Generator, kind: str, count: int, pools: Mapping[str, Sequence[str]]) -> list[str]:
    """Return `count` distinct names of a kind, drawn uniformly from all combinations of its pools' words."""
    pattern = PATTERNS[kind]
    sizes = tuple(len(pools[pool]) for pool in pattern.pools)
    rows = np.unravel_index(rng.choice(prod(sizes), size=count, replace=False), sizes)
    columns = [[pools[pool][i] for i in row] for pool, row in zip(pattern.pools, rows, strict=True)]
    return [pattern.form.format(*parts) for parts in zip(*columns, strict=True)]


def object_pools(
    rng: np.random.Generator, pools: Mapping[str, Sequence[str]], companies: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Return the shared objects of a world by kind (cities, universities, record labels, occupations ...)."""
    surnames = [pools["surname"][i] for i in rng.permutation(len(pools["surname"]))]
    cities = [pools["city"][i] for i in rng.permutation(len(pools["city"]))]
    return {
        "city": pools["city"],
        "region": pools["region"],
        "country": pools["country"],
        "university": [f"University of {c}" for c in cities[:35]] + [f"{s} College" for s in surnames[:35]],
        "museum": [f"{c} Gallery" for c in cities[35:70]] + [f"{s} Museum" for s in surnames[35:70]],
        "label": [f"{s} Records" for s in surnames[70:100]],
        "company": companies,
        "occupation": WORDS["occupations"],
        "position": WORDS["positions"],
        "genre": WORDS["genres"],
        "language": WORDS["languages"],
    }
