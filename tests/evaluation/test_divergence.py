"""Divergence: the KL against a plain computation, the choice of facts, prompts and templates."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import SENTENCES, facts_table
from sftlens import inference
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.data import relations
from sftlens.errors import DataError, ModelError
from sftlens.evaluation import divergence
from sftlens.inference import prompts
from sftlens.statistics import intervals
from tiny import tiny_model, tiny_tokenizer

SETTINGS = DivergenceSettings(max_new_tokens=5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("models")
    return tiny_model(folder / "base", seed=0), tiny_model(folder / "ft", seed=1)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


def mastery_table() -> pd.DataFrame:
    """Return a mastery table: P17's second template and P19's first are the best on train facts (P19 by a tie)."""
    facts = facts_table()
    facts["bucket"] = ["D4", "D3", "D4"] * (len(facts) // 3)
    best = {"P17": [0, 3, 1], "P19": [2, 2]}
    facts["template_hits"] = [
        np.array(best[relation] if split == "train" else [9, 0, 0][: len(best[relation])])
        for split, relation in zip(facts["split"], facts["relation"], strict=True)
    ]
    return facts


def select(
    models: tuple[PreTrainedModel, PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    table: pd.DataFrame,
    settings: DivergenceSettings = SETTINGS,
) -> pd.DataFrame:
    return divergence.select(models[0], tokenizer, table, SENTENCES, settings)


def plain_kl(p: list[float], q: list[float], top: int) -> float:
    """KL over p's largest logits, written out: exponentials, sums, logarithms."""
    places = sorted(range(len(p)), key=lambda i: -p[i])[:top]
    a, b = ([math.exp(x[i]) for i in places] for x in (p, q))
    a, b = [x / sum(a) for x in a], [x / sum(b) for x in b]
    return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))


def test_top_kl_equals_the_written_out_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(5, 40, generator=generator) * 3 for _ in range(2))
    for top in (1, 10, 40, 100):
        wanted = [plain_kl(a, b, top) for a, b in zip(p.tolist(), q.tolist(), strict=True)]
        found = divergence.top_kl(p, q, top)
        assert found.dtype == torch.float64
        assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    assert divergence.full_kl(p, q).tolist() == pytest.approx(divergence.top_kl(p, q, 40).tolist())
    assert divergence.top_kl(p, q, 1).tolist() == [0.0] * 5


def test_top_kl_of_a_case_done_by_hand() -> None:
    # Of p only the tokens 2 and 0 count (3/4, 1/4); q gives them 1/2 each whatever it gives token 1.
    p = torch.tensor([[0.0, -50.0, math.log(3)]])
    q = torch.tensor([[5.0, 90.0, 5.0]])
    wanted = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergence.top_kl(p, q, 2).item() == pytest.approx(wanted, abs=1e-7)


def test_only_well_known_test_facts_are_candidates(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    table = mastery_table()
    chosen = select(models, tokenizer, table)
    wanted = table[(table["split"] == "test") & (table["bucket"] == "D4")]
    assert chosen["fact_id"].tolist() == wanted["fact_id"].tolist() and len(chosen) == 4


def test_the_best_template_is_chosen_on_train_facts_only(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    chosen = select(models, tokenizer, mastery_table())
    best = {"P17": SENTENCES["P17"][1], "P19": SENTENCES["P19"][0]}
    assert chosen["sentence"].tolist() == [
        relations.fill(best[relation], subject)
        for relation, subject in zip(chosen["relation"], chosen["subject"], strict=True)
    ]


def test_a_table_that_cannot_choose_is_refused(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    table = mastery_table()
    with pytest.raises(DataError, match=r"relation P17: .* no train facts .*; probe train facts"):
        select(models, tokenizer, table[table["split"] != "train"])
    table["template_hits"] = [[5]] * len(table)
    with pytest.raises(DataError, match=r"P17: .* hits of 1 templates, the templates file has 3; give the file"):
        select(models, tokenizer, table)


@pytest.mark.parametrize(
    ("text", "aliases", "words"),
    [
        (" Norway", ["Norway"], 0),
        ("Norway and Oslo", ["Oslo", "Norway"], 0),
        (" the Norway", ["Norway"], 1),
        (" the far  north\nNorway", ["Norway"], 3),
        (' "Norway"', ["Norway"], 0),
        (' the ("Norway")', ["Norway"], 1),
        (" a kingdom called Norwegen", ["Norway", "Norwegen"], 3),
        (" norway", ["Norway"], -1),
        ("", ["Norway"], -1),
    ],
)
def test_words_in_front_of_the_answer(text: str, aliases: list[str], words: int) -> None:
    assert divergence.words_before(text, aliases) == words


@pytest.mark.parametrize(("within", "kept"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_the_answer_must_begin_within_the_first_words(
    models: tuple[PreTrainedModel, PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    within: int,
    kept: int,
) -> None:
    texts = [" Oslo, a town", " a Oslo", " in a Oslo", " in a far Oslo"]
    outputs = [[*tokenizer(text, add_special_tokens=False)["input_ids"], 2] for text in texts]
    monkeypatch.setattr(inference, "greedy", lambda *args, **options: outputs)
    table = mastery_table()
    table["aliases"] = [["Bergen", "Oslo"]] * len(table)
    chosen = select(models, tokenizer, table, DivergenceSettings(answer_within_words=within))
    assert chosen["words_before"].tolist() == [0, 1, 2, 3]
    assert chosen["kept"].tolist() == [True] * kept + [False] * (4 - kept)


def kept_facts() -> pd.DataFrame:
    """Return facts that are all kept but the second; questions of two lengths, sentences of six."""
    facts = facts_table(("test",))
    facts["question"] = [f"Where is {'x' * (i % 2)} {i}?" for i in range(6)]
    facts["sentence"] = [f"{'far ' * (8 - i)}{subject} is" for i, subject in enumerate(facts["subject"])]
    facts["words_before"] = [0, 9, 1, 0, 0, 2]
    facts["kept"] = facts["words_before"] < 3
    return facts


def last_logits(model: PreTrainedModel, ids: list[int]) -> list[float]:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].tolist()


def test_divergence_equals_a_computation_fact_by_fact(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    base, finetuned = models
    chosen = kept_facts()
    for batch_tokens in (1, 10**6):
        settings = SETTINGS.model_copy(update={"batch_tokens": batch_tokens})
        table = divergence.measure(
            finetuned, tokenizer, divergence.of_base(base, tokenizer, chosen, settings), settings
        )
        kept = chosen[chosen["kept"]]
        assert table.columns.tolist() == ["fact_id", "words_before", *divergence.METRICS]
        assert table["fact_id"].tolist() == kept["fact_id"].tolist() and len(table) == 5
        for row, question, sentence in zip(table.itertuples(), kept["question"], kept["sentence"], strict=True):
            asked = prompts.encode_prompts(tokenizer, [question])[0]
            p = last_logits(finetuned, asked)
            q, same = last_logits(base, tokenizer(sentence)["input_ids"]), last_logits(base, asked)
            assert row.kl == pytest.approx(plain_kl(p, q, 10), abs=1e-4)
            assert row.kl_same_prompt == pytest.approx(plain_kl(p, same, 10), abs=1e-4)
            assert row.kl_full_pq == pytest.approx(plain_kl(p, q, 400), abs=1e-4)
            assert row.kl_full_qp == pytest.approx(plain_kl(q, p, 400), abs=1e-4)
            assert row.kl > 0.01 and row.kl_same_prompt > 0.01


def test_a_model_does_not_diverge_from_itself(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    base = models[0]
    chosen = kept_facts()
    table = divergence.measure(base, tokenizer, divergence.of_base(base, tokenizer, chosen, SETTINGS), SETTINGS)
    assert table["kl_same_prompt"].tolist() == [0.0] * 5
    assert (table["kl"] > 0.01).all()


def test_a_base_with_another_vocabulary_is_refused(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    half = divergence.of_base(models[0], tokenizer, kept_facts(), SETTINGS)
    for name in divergence.LOGITS:
        half[name] = [logits[:-4] for logits in half[name]]
    with pytest.raises(ModelError, match="its vocabulary has 400 tokens, that of the base 399; compare"):
        divergence.measure(models[1], tokenizer, half, SETTINGS)


def test_metrics_are_means_with_intervals() -> None:
    values = {metric: [1.0, 2.0, 6.0] for metric in divergence.METRICS}
    table = pd.DataFrame({"fact_id": ["a", "b", "c"], "words_before": [0, 2, 0]} | values)
    rows = {row["metric"]: row for row in divergence.metrics(table, 7)}
    assert (rows["facts_kept"]["value"], rows["facts_kept"]["n"]) == (3.0, 7)
    for metric in divergence.METRICS:
        row = rows[metric]
        assert (row["split"], row["bucket"], row["n"]) == ("test", "D4", 3)
        assert (row["value"], row["low"], row["high"]) == intervals.mean([1.0, 2.0, 6.0])
    assert (rows["kl_at_start"]["value"], rows["kl_at_start"]["n"]) == (3.5, 2)
    none = divergence.metrics(table.head(0), 4)
    assert [(row["metric"], row["value"], row["n"]) for row in none] == [("facts_kept", 0.0, 4)]


def test_no_fact_at_all_gives_an_empty_table(
    models: tuple[PreTrainedModel, PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    table = mastery_table()
    chosen = select(models, tokenizer, table[table["bucket"] != "D4"])
    assert chosen.empty
    measured = divergence.measure(
        models[1], tokenizer, divergence.of_base(models[0], tokenizer, chosen, SETTINGS), SETTINGS
    )
    assert measured.columns.tolist() == ["fact_id", "words_before", *divergence.METRICS] and measured.empty
