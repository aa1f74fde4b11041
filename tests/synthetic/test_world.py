"""The embedded world: rules of its facts and corpus, its files, and that one seed decides every byte."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from repository import ROOT
from sftlens import files
from sftlens.config.stages.data import FactsSettings, WorldSettings
from sftlens.data import facts as study_facts
from sftlens.data.entity_questions import Item
from sftlens.data.relations import ID_RELATIONS, OOD_RELATIONS, RELATIONS
from sftlens.errors import DataError, TemplateError
from sftlens.synthetic import corpus as corpora
from sftlens.synthetic import world_facts
from sftlens.synthetic.names import ENDINGS, INVENTED, PLAIN, WordMaker, make_pools
from sftlens.synthetic.world_facts import GROUPS, Fact, Role, World, pairs, zipf_draws

SIZES = {"train": 12, "dev": 2, "test": 6, "testood": 5, "extra": 8, "calibration": 2}
TINY = WorldSettings(**SIZES, extra_questions=5)
TEMPLATES = {r: [f"about {{subject}} the {r} sentence {i} says" for i in range(7)] for r in RELATIONS}
SCRIPT = ROOT / "scripts" / "world.py"


@pytest.fixture(scope="module")
def tiny() -> World:
    return world_facts.build(TINY)


@pytest.fixture(scope="module")
def corpus(tiny: World) -> list[str]:
    return corpora.documents(tiny, TEMPLATES)


@pytest.fixture(scope="module", params=[2, 7])
def full(request: pytest.FixtureRequest) -> World:
    return world_facts.build(WorldSettings(seed=request.param))


def test_every_relation_belongs_to_one_group() -> None:
    assert sorted(r for _, relations in GROUPS for r in relations) == sorted(RELATIONS)


@pytest.mark.parametrize("relation", RELATIONS)
def test_sizes(tiny: World, relation: str) -> None:
    found = Counter(fact.role for fact in tiny.facts if fact.relation == relation)
    roles = ("train", "dev", "test") if relation in ID_RELATIONS else ("testood",)
    assert found == {role: SIZES[role] for role in (*roles, "extra", "calibration")}


def test_no_subject_has_two_roles(full: World) -> None:
    roles: dict[str, set[str]] = {}
    for fact in full.facts:
        roles.setdefault(fact.subject, set()).add(fact.role)
    assert max(map(len, roles.values())) == 1


def test_a_subject_has_two_facts_of_different_relations(full: World) -> None:
    relations: dict[str, list[str]] = {}
    for fact in full.facts:
        relations.setdefault(fact.subject, []).append(fact.relation)
    counts = Counter(map(len, relations.values()))
    assert set(counts) <= {1, 2} and counts[1] < 0.01 * counts[2]
    assert all(len(set(found)) == len(found) for found in relations.values())


def test_answers_can_be_judged_by_containment(full: World) -> None:
    answers: dict[str, set[str]] = {}
    for fact in full.facts:
        assert fact.object not in fact.subject
        answers.setdefault(fact.relation, set()).add(fact.object)
    for objects in answers.values():
        assert not [(a, b) for a in objects for b in objects if a != b and a in b]


def test_questions_are_unique(full: World) -> None:
    assert len({fact.question for fact in full.facts}) == len(full.facts)


def test_exposures(full: World) -> None:
    fixed = {"extra": 12, "calibration": 40}
    for role, count in fixed.items():
        assert {fact.exposure for fact in full.of(role)} == {count}
    drawn = np.array([fact.exposure for fact in full.facts if fact.role not in fixed])
    assert drawn.min() == 0 and drawn.max() <= 40
    assert abs((drawn == 0).mean() - 0.08) < 0.015
    assert abs(np.median(drawn[drawn > 0]) - 40**0.5) < 1  # log-uniform from 1 to 40


def test_objects_follow_zipf() -> None:
    drawn = Counter(zipf_draws(np.random.default_rng(0), [str(i) for i in range(50)], 40_000))
    counts = [count for _, count in drawn.most_common()]
    assert len(counts) == 50
    assert counts[0] / counts[9] == pytest.approx(10**0.8, rel=0.15)


def test_pairs_deal_every_relation_equally() -> None:
    dealt = pairs(("a", "b", "c"), 3)
    assert dealt == [("a", "b"), ("c", "a"), ("b", "c"), ("a", "b"), ("c",)]


def fact(relation: str, subject: str, answer: str, role: Role) -> Fact:
    return Fact(relation, subject, answer, role, 1, RELATIONS[relation].ask(subject))


def test_check_names_the_offender() -> None:
    good = fact("P19", "Ada Loren", "Torburg", "train")
    world_facts.check([good])
    for bad, word in [
        (fact("P19", "Ben Oslo", "North Torburg", "train"), "another answer"),
        (fact("P69", "Torburg School", "Torburg", "train"), "own subject"),
        (fact("P20", "Ada Loren", "Kestaton", "test"), "train and test"),
        (fact("P19", "Ada Loren", "Kestaton", "train"), "twice"),
    ]:
        with pytest.raises(DataError, match=word):
            world_facts.check([good, bad])


def test_words_never_contain_each_other() -> None:
    pools = make_pools(np.random.default_rng(3), {})
    assert {name: len(pools[name]) - len(PLAIN.get(name, ())) for name in INVENTED} == INVENTED
    invented = [w.lower() for name in INVENTED if name != "noun" for w in pools[name]]
    text = "\n".join(invented)
    assert all(text.count(word) == 1 for word in invented)
    assert all(word.lower().endswith(ENDINGS["city"]) for word in pools["city"])
    for plain in PLAIN.values():
        assert not [(a, b) for a in plain for b in plain if a != b and a in b]


def test_words_grow_longer_when_the_short_ones_are_used_up() -> None:
    words = WordMaker(np.random.default_rng(0), []).take(3000)
    assert len(set(words)) == 3000


def test_pools_grow_with_the_facts() -> None:
    large = world_facts.build(WorldSettings(train=1000, test=120, testood=800, extra=50))
    assert len(large.facts) == 10_000 + 100 + 1_200 + 11_200 + 1_200 + 144


@pytest.mark.parametrize(
    ("total", "seen", "indices"),
    [(21, 9, [1, 3, 5, 8, 10, 12, 15, 17, 19]), (4, 2, [1, 3]), (5, 9, [0, 1, 2, 3, 4]), (3, 3, [0, 1, 2])],
)
def test_seen_indices_are_evenly_spaced(total: int, seen: int, indices: list[int]) -> None:
    assert corpora.seen_indices(total, seen) == indices


def test_documents_state_each_fact_as_often_as_its_exposure_says(tiny: World, corpus: list[str]) -> None:
    statements = Counter(text.strip().split(" says ")[-1] for text in corpus if text.startswith("about "))
    wanted: Counter[str] = Counter()
    for fact in tiny.facts:
        wanted[fact.object] += fact.exposure
    assert statements == +wanted
    assert len(corpus) == wanted.total() + len(tiny.of("extra")) * TINY.extra_questions


def test_only_seen_templates_are_used() -> None:
    settings = WorldSettings(**SIZES, seen_templates=3)
    texts = corpora.documents(world_facts.build(settings), TEMPLATES)
    used = {text.split(" sentence ")[1][0] for text in texts if " sentence " in text}
    assert used == {str(i) for i in corpora.seen_indices(7, 3)}


def test_only_extra_facts_are_asked_about_and_never_as_in_fine_tuning(tiny: World, corpus: list[str]) -> None:
    text = "\n".join(corpus)
    assert "<|" not in text and "|>" not in text
    for fact in tiny.facts:
        assert (fact.question in text) == (fact.role == "extra")


def test_every_wrapper_occurs(corpus: list[str]) -> None:
    for wrapper in corpora.WRAPPERS:
        start = wrapper.split("{q}")[0]
        assert any(text.startswith(start) for text in corpus), wrapper


def test_a_third_of_the_documents_ends_with_a_space(corpus: list[str]) -> None:
    assert abs(np.mean([text.endswith(" ") for text in corpus]) - 0.3) < 0.02
    assert not [text for text in corpus if text.endswith("  ") or "\n" in text]


def test_a_relation_without_templates_is_named(tiny: World) -> None:
    with pytest.raises(TemplateError, match="P19"):
        corpora.documents(tiny, {r: t for r, t in TEMPLATES.items() if r != "P19"})


def test_files(tiny: World, corpus: list[str], tmp_path: Path) -> None:
    corpora.write(tiny, TEMPLATES, tmp_path)
    assert (tmp_path / "corpus.txt").read_text(encoding="utf-8").split("\n") == [*corpus, ""]
    exposures = files.read_parquet(tmp_path / "exposures.parquet")
    assert list(exposures) == ["question", "relation", "subject", "object", "role", "exposure"]
    assert exposures["exposure"].tolist() == [fact.exposure for fact in tiny.facts]
    calibration = files.read_json(tmp_path / "calibration.json")
    assert len(calibration) == 24 * 2 and set(calibration[0]) == {"relation", "subject", "object"}
    assert files.read_json(tmp_path / "train" / "P26.train.json") == []
    assert len(list(tmp_path.glob("*/P*.json"))) == 3 * 24


def test_later_stages_see_no_difference_from_the_published_layout(tiny: World, tmp_path: Path) -> None:
    corpora.write(tiny, TEMPLATES, tmp_path)
    table = study_facts.load(FactsSettings(), tmp_path)
    made = [f for role in ("train", "dev", "test", "testood") for f in tiny.of(role)]
    assert table["split"].tolist() == [fact.role for fact in made]
    assert table["subject"].tolist() == [fact.subject for fact in made]
    assert table["object"].tolist() == [fact.object for fact in made]
    assert set(table.loc[table["split"] == "testood", "relation"]) == set(OOD_RELATIONS)


def test_one_seed_decides_every_byte_and_another_changes_it(tmp_path: Path) -> None:
    templates = tmp_path / "templates.yaml"
    lines = [f'{r}: {{templates: ["{{subject}} {r} a", "{{subject}} {r} b"]}}' for r in RELATIONS]
    templates.write_text("\n".join(lines))
    digests = []
    for hash_seed, seed in (("1", "2"), ("77", "2"), ("1", "3")):
        out = tmp_path / f"{hash_seed}-{seed}"
        sizes = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]
        command = [sys.executable, SCRIPT, "--templates", templates, "--out", out, "--seed", seed, *sizes]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
        digests.append(files.tree_sha256(out))
    assert digests[0] == digests[1] != digests[2]


def test_the_script_does_not_replace_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    command = [sys.executable, SCRIPT, "--templates", "none.yaml", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "--out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_world_of_sampled_facts_keeps_roles_apart(tiny: World, tmp_path: Path) -> None:
    corpora.write(tiny, TEMPLATES, tmp_path)
    table = study_facts.load(FactsSettings(), tmp_path)
    published = [f for role in ("train", "testood", "extra") for f in tiny.of(role)]
    spare = {r: [Item(0, f.subject, f.question, [f.object]) for f in published if f.relation == r] for r in RELATIONS}
    borrowed = world_facts.sampled(WorldSettings(extra=2, calibration=1), table, spare)
    taken = set(table["subject"])
    drawn = borrowed.of("extra") + borrowed.of("calibration")
    assert Counter(fact.relation for fact in drawn) == dict.fromkeys(RELATIONS, 3)
    assert not taken & {fact.subject for fact in drawn}
    assert len({fact.subject for fact in drawn}) == len(drawn)
    with pytest.raises(DataError, match=r"world\.extra"):
        world_facts.sampled(WorldSettings(extra=20), table, spare)


def test_a_study_chooses_which_relations_are_in_domain():
    chosen = ["P17", "P19", "P106", "P50"]
    world = world_facts.build(WorldSettings(train=6, test=3, testood=2, extra=2), chosen)
    counts = Counter((fact.role, fact.relation in chosen) for fact in world.facts)
    assert {role for role, inside in counts if inside} == {"train", "dev", "test", "extra", "calibration"}
    assert {role for role, inside in counts if not inside} == {"testood", "extra", "calibration"}
    assert counts["train", True] == 4 * 6 and counts["testood", False] == 20 * 2
    assert {fact.relation for fact in world.of("train")} == set(chosen)
    # The same as the paper's where they are the paper's.
    assert world_facts.build(WorldSettings(train=2), ID_RELATIONS) == world_facts.build(WorldSettings(train=2))
