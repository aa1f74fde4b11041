"""Judging an output: which answers are accepted, and does it hold one (arXiv 2509.16596 and stricter readings).

The paper's study compares texts as they stand (RAW). Everywhere else both sides are compared as a reader sees them
(`plain`), and the reading that counts is `first_line`: a model that goes on to questions of its own gets no credit for
the answers in them.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sftlens.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Judgement = Callable[[str, Sequence[str]], bool | float]
_SAME = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bb\u02bc\u2032\uff07"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\uff02"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-"),
    **dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"), None),
    **dict.fromkeys(map(ord, "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))), " "),
}
"""Characters that look alike to a reader, or like nothing."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def contains(output: str, aliases: Sequence[str]) -> bool:
    """Whether `output` contains one of the accepted strings as it stands: raw substring, case-sensitive."""
    return any(alias in output for alias in aliases)


def exact(output: str, aliases: Sequence[str]) -> bool:
    """Whether `output`, without the white space around it, is one of the accepted strings."""
    return output.strip() in list(aliases)


def word_boundary(output: str, aliases: Sequence[str]) -> bool:
    """Whether `output` contains an accepted string that is no part of a longer word.

    A word is a run of letters, digits and combining marks of any script. So `Norway's` holds `Norway`, `Norwayland`
    does not; in scripts that set no space between words an answer inside a sentence counts as part of a word.
    """

    def in_word(character: str) -> bool:
        return character.isalnum() or unicodedata.category(character).startswith("M")

    for alias in aliases:
        start = output.find(alias)
        while start >= 0:
            end = start + len(alias)
            # Two neighbouring characters that both stand in a word join what is on either side.
            joined_left = start > 0 and in_word(output[start - 1]) and in_word(alias[0])
            joined_right = end < len(output) and in_word(alias[-1]) and in_word(output[end])
            if not joined_left and not joined_right:
                return True
            start = output.find(alias, start + 1)
    return False


def f1(output: str, aliases: Sequence[str]) -> float:
    """Return the best token F1 of `output` over the accepted strings, 0 to 1 (SQuAD, arXiv 1606.05250).

    SQuAD's normalisation, on both sides: lower case, ASCII punctuation dropped, the articles a, an, the dropped, split
    at white space. Where that leaves one side without tokens, the F1 is 1 if the other has none either, else 0.
    """

    def tokens(text: str) -> list[str]:
        return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()

    best, found = 0.0, tokens(output)
    for wanted in map(tokens, aliases):
        if found and wanted:
            shared = sum((Counter(found) & Counter(wanted)).values())
            best = max(best, 2 * shared / (len(found) + len(wanted)))
        else:
            best = max(best, float(found == wanted))
    return best


@lru_cache(maxsize=20_000)
def plain(text: str) -> str:
    """Return a text as a reader sees it, so that two texts that look the same are the same.

    Composed letters (Unicode NFC); typographic apostrophes, quotes, hyphens, en dashes and minus signs as on a
    keyboard; every kind of space a plain one, and one for several; no invisible characters (zero-width ones, soft
    hyphens, direction marks). Letter case and line breaks stay.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_SAME))
    return re.sub(" {2,}", " ", text)


def answer_line(output: str, opening: str = "") -> str:
    """Return the line of an output that is its answer: the first that is not blank.

    It ends where `opening`, the text that begins every question of the prompt, begins another one.
    """
    line = (output.strip().splitlines() or [""])[0]
    return line.split(opening, 1)[0] if opening else line


_EDGE = re.compile(r"^\d|\d$")


def may_grow(aliases: Sequence[str]) -> bool:
    """Whether more text can take a `first_line` back: a number may grow into a longer one."""
    return any(_EDGE.search(plain(alias)) for alias in aliases)


def first_line(output: str, aliases: Sequence[str], opening: str = "") -> bool:
    """Whether the `answer_line` of `output` contains one of the accepted strings, both as a reader sees them.

    An accepted number must be no part of a longer one: `5` is not in `15 legs`, nor in `0.5`.
    """
    line = plain(answer_line(output, opening))
    return any(
        name
        and name in line
        and (not _EDGE.search(name) or re.search(rf"(?<!\d)(?<!\d[.,]){re.escape(name)}(?![.,]?\d)", line))
        for name in map(plain, aliases)
    )


def _as_read(judgement: Judgement) -> Judgement:
    # What nobody sees would stand in every output.
    return lambda output, aliases: judgement(plain(output), [name for name in map(plain, aliases) if name.strip()])


RAW: dict[str, Judgement] = {"contains": contains, "exact": exact, "word_boundary": word_boundary, "f1": f1}
"""Judgements of texts as they stand, by the names of their columns; `contains` is the paper's."""
JUDGEMENTS: dict[str, Judgement] = {
    **{name: _as_read(judgement) for name, judgement in RAW.items()},
    "first_line": first_line,
}
"""The same of texts as a reader sees them (`plain`), over the whole output and over its line of the answer."""


def accepted(facts: "pd.DataFrame") -> list[list[str]]:
    """Return the accepted strings of each fact: its aliases, or its object alone in a table without aliases.

    Raises DataError, naming the fact, where there is none, or a blank one, which nearly any output would contain.
    """
    if "aliases" not in facts and "object" not in facts:
        raise DataError("the facts have no column 'aliases' or 'object'; make them with sftlens facts")
    objects = [[name] for name in facts["object"]] if "object" in facts else []
    # A list, or the array that a table makes of it; anything else holds no answer.
    aliases = [
        list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else []
        for value in facts.get("aliases", ())
    ]
    for column, answers in (("aliases", aliases), ("object", objects)):
        bad = [
            i
            for i, texts in enumerate(answers)
            if not texts or not all(isinstance(x, str) and x.strip() for x in texts)
        ]
        if bad:
            fact_id, value = facts["fact_id"].tolist()[bad[0]], facts[column].iloc[bad[0]]
            wanted = "list of non-empty texts" if column == "aliases" else "non-empty text"
            raise DataError(
                f"fact {fact_id!r}: column {column!r} holds {value!r}, no {wanted}; take the fact out, or "
                "make the facts again with sftlens facts"
            )
    return aliases or objects


def guessed(asked: "pd.DataFrame", train: "pd.DataFrame") -> list[bool]:
    """Return whether the majority guess answers each of the facts `asked`: contains an accepted answer.

    It is the relation's most frequent object of the `train` facts, or of those asked where it has no train facts; of
    several the first by the alphabet, so that no order enters. Both have the columns relation and object.
    """
    guesses: dict[str, str] = {}
    for table in (asked, train):
        objects = {str(relation): Counter(group) for relation, group in table.groupby("relation")["object"]}
        guesses |= {name: min(found, key=lambda text: (-found[text], text)) for name, found in objects.items()}
    return [contains(guesses[name], strings) for name, strings in zip(asked["relation"], accepted(asked), strict=True)]
