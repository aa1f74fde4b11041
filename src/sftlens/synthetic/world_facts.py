"""The facts of the embedded world, invented or sampled: their roles, and how often the corpus states each."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sftlens.config.stages.data import WorldSettings
from sftlens.data.entity_questions import Item
from sftlens.data.relations import ID_RELATIONS, RELATIONS, rank
from sftlens.errors import DataError
from sftlens.synthetic.names import PATTERNS, make_names, make_pools, object_pools

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["train", "dev", "test", "testood", "extra", "calibration"]
ROLES: tuple[Role, ...] = ("train", "dev", "test", "testood", "extra", "calibration")

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("person", ("P19", "P20", "P69")),
    ("organisation", ("P159", "P740")),
    ("place", ("P17", "P36", "P131")),
    ("artwork", ("P495", "P276")),
    ("person", ("P26", "P40", "P106", "P413", "P800")),
    ("person", ("P136", "P264")),
    ("title", ("P50", "P407", "P175")),
    ("product", ("P176", "P170")),
    ("organisation", ("P112", "P127")),
)
"""Kinds of subjects with the relations that share them; a subject has two of its group's relations."""

OBJECTS = {
    "P17": "country", "P19": "city", "P20": "city", "P36": "city", "P69": "university",
    "P131": "region", "P159": "city", "P276": "museum", "P495": "country", "P740": "city",
    "P26": "person", "P40": "person", "P50": "person", "P106": "occupation", "P112": "person",
    "P127": "company", "P136": "genre", "P170": "person", "P175": "person", "P176": "company",
    "P264": "label", "P407": "language", "P413": "position", "P800": "title",
}  # fmt: skip
"""Kind of each relation's objects: for a kind of PATTERNS a fresh name a fact, others share a pool."""

COMPANIES = 60
ZIPF_EXPONENT = 0.8


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact, its role in the study and the number of times the corpus states it."""

    relation: str
    subject: str
    object: str
    role: Role
    exposure: int
    question: str


@dataclass(frozen=True)
class World:
    """What a corpus is about: settings and facts, in the order of roles and relations."""

    settings: WorldSettings
    facts: tuple[Fact, ...]

    def of(self, role: Role) -> list[Fact]:
        """Return the facts of one role."""
        return [fact for fact in self.facts if fact.role == role]


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return a random generator of its own for one purpose, so that no part of the world shifts another."""
    return np.random.default_rng([seed, *purpose.encode()])


def build(settings: WorldSettings, in_domain: Sequence[str] = ID_RELATIONS) -> World:
    """Invent a world. The same settings give the same facts in the same order.

    Relations in-domain have train, dev and test facts, all others testood facts.

    Raises DataError where the names do not keep answers and subjects apart (see `check`); another seed does.
    """
    # A fact to be: its relation and role, and the kind and number of its subject.
    slots: list[tuple[str, Role, str, int]] = []
    subjects: Counter[str] = Counter()
    for role in ROLES:
        for kind, relations in GROUPS:
            # Test facts out-of-domain are testood facts; extra and calibration facts come from every relation.
            everywhere, outside = role in ("extra", "calibration"), role == "testood"
            here = [relation for relation in relations if everywhere or outside != (relation in in_domain)]
            for pair in pairs(here, int(getattr(settings, role))):
                slots += [(relation, role, kind, subjects[kind]) for relation in pair]
                subjects[kind] += 1

    # A kind of PATTERNS names subjects, and objects that no two facts share.
    wanted = Counter(relation for relation, *_ in slots)
    needed = {kind: subjects[kind] + sum(wanted[r] for r, of in OBJECTS.items() if of == kind) for kind in PATTERNS}
    needed["organisation"] += COMPANIES
    pools = make_pools(stream(settings.seed, "words"), needed)
    names = {kind: make_names(stream(settings.seed, kind), kind, n, pools) for kind, n in needed.items()}
    companies = [names["organisation"].pop() for _ in range(COMPANIES)]
    shared = object_pools(stream(settings.seed, "objects"), pools, companies)
    objects = {
        relation: iter(
            zipf_draws(stream(settings.seed, f"objects {relation}"), shared[kind], wanted[relation])
            if (kind := OBJECTS[relation]) in shared
            else [names[kind].pop() for _ in range(wanted[relation])]
        )
        for relation in sorted(OBJECTS, key=rank)
    }
    facts = []
    exposures = _exposures(settings, [role for _, role, *_ in slots])
    for (relation, role, kind, number), exposure in zip(slots, exposures, strict=True):
        subject = names[kind][number]
        question = RELATIONS[relation].ask(subject)
        facts.append(Fact(relation, subject, next(objects[relation]), role, exposure, question))
    facts.sort(key=lambda fact: (ROLES.index(fact.role), rank(fact.relation)))
    check(facts)
    return World(settings, tuple(facts))


def sampled(settings: WorldSettings, facts: "pd.DataFrame", spare: Mapping[str, Sequence[Item]]) -> World:
    """Return a world whose train, dev, test and testood facts are given ones, such as a sample of EntityQuestions.

    Unlike the invented world's, given answers may stand inside subjects or inside one another. `facts` are the study's
    (columns split, relation, subject, object, question); from `spare`, for each relation, the extra and calibration
    facts are drawn, subjects that have a role being skipped. Raises DataError when there are too few.
    """
    columns = ("relation", "subject", "object", "split", "question")
    every: list[tuple[str, str, str, Role, str]] = list(zip(*(facts[name] for name in columns), strict=True))
    taken = set(facts["subject"])
    roles: list[Role] = ["extra"] * settings.extra
    roles += ["calibration"] * settings.calibration
    for relation, items in spare.items():
        free = list({item.subject: item for item in items if item.subject not in taken}.values())
        if len(free) < len(roles):
            raise DataError(
                f"{relation}: {len(free)} dev facts about subjects that are not asked about, but world.extra + "
                f"world.calibration = {len(roles)}; lower these or facts.sample, or add dev facts"
            )
        order = stream(settings.seed, f"spare {relation}").permutation(len(free)).tolist()
        for role, number in zip(roles, order, strict=False):
            item = free[number]
            taken.add(item.subject)
            every.append((relation, item.subject, item.answers[0], role, item.question))
    exposures = _exposures(settings, [role for *_, role, _ in every])
    return World(settings, tuple(Fact(*row[:4], n, row[4]) for row, n in zip(every, exposures, strict=True)))


def pairs(relations: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Deal `count` facts of each relation to subjects, two relations each (one if the sum is odd, or there is one)."""
    dealt, each = [relation for _ in range(count) for relation in relations], min(2, len(relations))
    return [tuple(dealt[i : i + each]) for i in range(0, len(dealt), each or 1)]


def zipf_draws(rng: np.random.Generator, pool: Sequence[str], count: int) -> list[str]:
    """Draw `count` objects with Zipf(0.8) frequencies over the pool in an order of its own."""
    weights = (1.0 + np.arange(len(pool))) ** -ZIPF_EXPONENT
    order = rng.permutation(len(pool))
    ranks = rng.choice(len(pool), size=count, p=weights / weights.sum())
    return [pool[order[rank]] for rank in ranks]


def _exposures(settings: WorldSettings, roles: Sequence[Role]) -> list[int]:
    """Draw how often each fact is stated: never or log-uniform; extra and calibration facts as set."""
    rng = stream(settings.seed, "exposures")
    unseen = rng.random(len(roles)) < settings.unseen_share
    stated = np.rint(np.exp(rng.random(len(roles)) * np.log(settings.max_exposure))).astype(int)
    fixed = {"extra": settings.extra_statements, "calibration": settings.calibration_statements}
    counts = np.where(unseen, 0, stated).tolist()
    return [fixed.get(role, count) for role, count in zip(roles, counts, strict=True)]


def check(facts: Sequence[Fact]) -> None:
    """Refuse facts that containment could not judge, or whose roles are not apart.

    No answer may stand inside another answer of its relation or inside its own subject, no subject may
    have two roles, no question occur twice. Raises DataError, which names the first offending fact.
    """
    remedy = "change world.seed"
    roles: dict[str, Role] = {}
    answers: dict[str, set[str]] = defaultdict(set)
    questions: set[str] = set()
    for fact in facts:
        if fact.object in fact.subject:
            raise DataError(f"world: {fact.object!r} stands in its own subject {fact.subject!r}; {remedy}")
        if roles.setdefault(fact.subject, fact.role) != fact.role:
            both = f"{roles[fact.subject]} and {fact.role}"
            raise DataError(f"world: {fact.subject!r} has the roles {both}; {remedy}")
        if fact.question in questions:
            raise DataError(f"world: the question {fact.question!r} occurs twice; {remedy}")
        questions.add(fact.question)
        answers[fact.relation].add(fact.object)
    for relation, objects in answers.items():
        text = "\n".join(sorted(objects))
        for answer in sorted(objects):
            if text.count(answer) > 1:
                raise DataError(f"world: {relation}: {answer!r} stands in another answer as well; {remedy}")
