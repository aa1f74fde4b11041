"""The settings that a repair tries: regions, one loaded model for all; the gate against the base; what is written."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

import repair_models
from script_calls import ok, refused
from sftlens.config.repair import RepairSettings
from sftlens.errors import ModelError
from sftlens.files import read_json
from sftlens.models import checkpoints
from sftlens.models.checkpoints import load_model
from sftlens.repair.models import BASE, FINETUNED, Candidate, RepairModels, candidates
from sftlens.repair.user_files import scorer
from sftlens.restoration import methods
from sftlens.restoration.apply import Method
from sftlens.restoration.methods import PostHoc
from sftlens.restoration.pairs import Piece

QUICK = ["--max-new-tokens", 6, "--task-max-new-tokens", 6, "--reprobe", 20, "--few-shot", "prompts=2", "shots=2"]
QUICK += ["samples=2", "max_new_tokens=6"]
ONE = ["--ratio", 1, "--criterion", "absolute"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repair_models.make(tmp_path_factory.mktemp("settings") / "models")


def call(models: Path, out: Path, *options: object, task: Path | None = None) -> dict[str, Any]:
    given = [
        "--facts",
        models / "facts.csv",
        "--task",
        task or models / "task.jsonl",
        "--state",
        models.parent / "state",
    ]
    ok("repair.py", models / "base", models / "tuned", *given, *QUICK, "--out", out, *options)
    return read_json(out / "report.json")


def test_all_settings_are_put_into_one_loaded_model_bit_for_bit(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = ["transformer", "query_key", "blocks", "all"]
    settings = RepairSettings(ratios=[1, 40], criteria=["absolute", "interpolation"], regions=regions)
    made = RepairModels(models / "base", models / "tuned", settings, "cpu")
    listed = list(dict.fromkeys(candidate.region for candidate in made.candidates))
    assert listed == ["transformer", "query_key", "layers0-0", "layers1-1", "all"]
    assert len(made.candidates) == 2 * 2 * len(listed)
    loaded: list[object] = []
    monkeypatch.setattr(checkpoints, "load_model", lambda *a, **k: (loaded.append(a), load_model(*a, **k))[1])
    for key in (FINETUNED, *made.candidates, FINETUNED, Candidate("absolute", 40, "query_key")):
        found = made.get(key).state_dict()
        transform = made.restored(key) if isinstance(key, Candidate) else None
        wanted = load_model(models / "tuned", device="cpu", transform=transform).state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), key
    assert len(loaded) == 1
    made.get(BASE), made.get(FINETUNED)
    assert len(loaded) == 3


def test_a_registered_method_is_a_setting_like_any_other(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Halfway(Method):
        facts = {"ratio": 5.0}

        def apply(self, piece: Piece) -> torch.Tensor:
            return (piece.base + piece.finetuned) / 2

    halfway = PostHoc("halfway", "The mean", "nowhere", lambda restorer, *_: Halfway(restorer.pair), matched="relative")
    list(methods.METHODS)
    monkeypatch.setitem(methods.METHODS._entries, halfway.name, halfway)
    settings = RepairSettings.model_construct(ratios=[5.0], criteria=["absolute", "halfway"], regions=["mlp"])
    made = RepairModels(models / "base", models / "tuned", settings, "cpu")
    assert [candidate.name for candidate in made.candidates] == ["absolute 5 % of mlp", "halfway 5 % of mlp"]
    for candidate in made.candidates:
        found = made.get(candidate).state_dict()
    tensors = [load_file(models / name / "model.safetensors") for name in ("base", "tuned")]
    for name, tensor in found.items():
        wanted = (tensors[0][name] + tensors[1][name]) / 2 if "mlp" in name else tensors[1][name]
        assert torch.equal(tensor, wanted), name


def test_a_model_without_the_region_can_be_measured_all_the_same(tmp_path: Path) -> None:
    for name in ("base", "tuned"):
        GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2)).save_pretrained(tmp_path / name)
    made = RepairModels(tmp_path / "base", tmp_path / "tuned", RepairSettings(), "cpu")
    assert made.get(FINETUNED).config.n_layer == 2
    with pytest.raises(ModelError, match="region 'transformer' has no parameter in this model"):
        made.check()
    settings = RepairSettings(ratios=[10], criteria=["module-wise-control"], regions=["re:mlp"])
    with pytest.raises(ModelError, match="no projection of queries or keys"):
        RepairModels(tmp_path / "base", tmp_path / "tuned", settings, "cpu").check()
    settings = RepairSettings(ratios=[10], criteria=["absolute"], regions=["re:mlp"])
    other = RepairModels(tmp_path / "base", tmp_path / "tuned", settings, "cpu")
    other.check()
    assert other.get(other.candidates[0]).config.n_layer == 2


def test_blocks_are_four_ranges_that_hold_every_layer() -> None:
    for layers, wanted in ((1, ["0-0"]), (6, ["0-1", "2-3", "4-5"]), (30, ["0-7", "8-15", "16-23", "24-29"])):
        made = candidates(RepairSettings(ratios=[5], criteria=["relative"], regions=["blocks"]), layers)
        assert [candidate.region for candidate in made] == [f"layers{part}" for part in wanted]
        assert made[0].name == f"relative 5 % of layers{wanted[0]}"


def test_regions_are_compared_and_their_number_is_corrected_for(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    monkeypatch.setattr(checkpoints, "load_model", lambda p, **k: (loaded.append(p), load_model(p, **k))[1])
    where = ["--region", "transformer", "--region", "blocks", "--as", "adapter", "--state", tmp_path / "state"]
    report = call(models, tmp_path / "out", *ONE, *where)
    # Once each to see what was lost; once for all settings and the adapter; once for the divergence of the chosen one.
    assert [path.name for path in loaded] == ["tuned", "base", "tuned", "base"]
    assert "among the 3 settings" in report["rule"] and "Bonferroni: 98.33 % each" in report["rule"]
    curve = pd.read_csv(tmp_path / "out" / "tradeoff.csv")
    assert set(curve["region"].dropna()) == {"transformer", "layers0-0", "layers1-1"}
    # The damage lies in both blocks: restoring one alone gives less.
    chosen = curve[curve["chosen"]].iloc[0]
    assert (report["outcome"]["region"], chosen["region"], chosen["criterion"]) == (
        "transformer",
        "transformer",
        "absolute",
    )
    base = curve[(curve["criterion"] == "base") & (curve["half"] == "choosing")].iloc[0]
    alone = call(models, tmp_path / "alone", *ONE)
    plain = pd.DataFrame(alone["trade_off"])
    plain = plain[(plain["criterion"] == "base") & (plain["half"] == "choosing")].iloc[0]
    assert base["gain"] == pytest.approx(plain["gain"], rel=1e-5) and base["gain_low"] < plain["gain_low"]


def test_base_finetuned_and_repaired_stand_side_by_side_with_the_facts_that_came_back(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = call(models, tmp_path / "out", *ONE)
    rows = {row["metric"]: row for row in report["side_by_side"]}
    assert list(rows) == ["facts answered", "mastery", "well-formed answers", "score of the task", "KL to the base"]
    facts, kl = rows["facts answered"], rows["KL to the base"]
    assert facts["n"] == report["examples"]["facts"]["reporting"]
    assert facts["gain"]["value"] == pytest.approx(facts["absolute 1 %"]["value"] - facts["fine-tuned"]["value"])
    assert facts["gain"]["low"] > 0 and facts["absolute 1 %"]["high"] <= 100
    assert kl["base"] is None and kl["absolute 1 %"]["value"] < kl["fine-tuned"]["value"]
    # The diagnosis comes first, on the terminal and on the page.
    said, diagnosis = capsys.readouterr().out, report["diagnosis"]
    assert said.startswith(f"base {models}/base, tuned") and "\n80 facts" in said and "knowledge lost: " in said
    assert said.index("right before, wrong now") < said.index(f"facts answered, % (n = {facts['n']})")
    assert said.index(f"facts answered, % (n = {facts['n']})") < said.index(report["outcome"]["sentence"])
    cost = next(row for row in report["metrics"] if (row["metric"], row["bucket"]) == ("cost", "all"))
    assert diagnosis["answered"]["value"] == pytest.approx(cost["value"]) and diagnosis["answered"]["n"] == cost["n"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("What fine-tuning did") < page.index("Repaired with absolute 1 %")
    answers = pd.read_csv(tmp_path / "out" / "answers.csv")
    back = answers["base: right"] & ~answers["fine-tuned: right"] & answers["absolute 1 %: right"]
    back &= answers["half"] == "reporting"
    assert f"regained by the repair: {back.sum()}" in page
    assert f"regained: {back.sum()} facts of the reporting half" in said
    assert sum(question in page for question in answers.loc[back, "question"]) == min(10, back.sum())


def test_a_published_task_file_has_the_score_that_it_has_in_a_study(models: Path, tmp_path: Path) -> None:
    rows = [{"document": prompt, "summary": colour, "id": i} for i, (prompt, colour) in enumerate(repair_models.TASK)]
    (tmp_path / "xsum.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["--prompt-template", "{question}", *ONE]
    published = call(models, tmp_path / "out", *asked, task=tmp_path / "xsum.jsonl")
    plain = call(models, tmp_path / "plain", *asked)
    assert "rougeL" in published["measured"]["task"] and "rougeL" not in plain["measured"]["task"]
    score, exact = (
        next(row for row in report["side_by_side"] if row["metric"] == "score of the task")["fine-tuned"]["value"]
        for report in (published, plain)
    )
    assert score >= exact > 20  # ROUGE-L counts a target among other words
    assert 0 < scorer("xsum", "exact")("red one", "red") < 1
    rows[3].pop("summary")
    (tmp_path / "xsum.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ["--facts", models / "facts.csv", "--task", f"xsum:{tmp_path}/xsum.jsonl", "--out", tmp_path / "no"]
    said = refused("repair.py", models / "base", models / "tuned", *given)
    assert f"{tmp_path}/xsum.jsonl, line 4: column 'summary'" in said


def test_where_the_base_does_the_task_as_well_nothing_is_recommended(models: Path, tmp_path: Path) -> None:
    call(models, tmp_path / "first", *ONE)
    answers = pd.read_csv(tmp_path / "first" / "answers.csv")
    known = answers[answers["base: right"]]  # the task is to answer what the base knows
    known.to_csv(tmp_path / "facts.csv", columns=["question", "answers"], index=False)
    asked = dict(zip(answers["question"], repair_models.ASKED, strict=True))
    lines = [json.dumps(dict(zip(("prompt", "target"), asked[name], strict=True))) for name in known["question"]]
    (tmp_path / "task.jsonl").write_text("\n".join(lines))
    given = ["--facts", tmp_path / "facts.csv", "--task", tmp_path / "task.jsonl"]
    outcome = call(models, tmp_path / "out", *ONE, *given)["outcome"]
    assert outcome["base_as_good"] and not outcome["written"] and not outcome["confirmed"]
    assert outcome["criterion"] is None
    assert "cannot tell the two apart" in outcome["sentence"] and "absolute 1 % meets the rule" in outcome["sentence"]
    assert [path.name for path in (tmp_path / "out" / "model").iterdir()] == ["README.md"]
    assert "No repair" in (tmp_path / "out" / "report.html").read_text()


def test_a_delta_is_exact_and_an_adapter_says_its_error(models: Path, tmp_path: Path) -> None:
    call(models, tmp_path / "whole", *ONE)
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    report = call(models, tmp_path / "delta", *ONE, "--as", "delta")
    assert "exact" in report["outcome"]["stored"] and report["outcome"]["as"] == "delta"
    ok("delta.py", "unpack", tmp_path / "delta" / "model", "--out", tmp_path / "unpacked")
    unpacked = load_file(tmp_path / "unpacked" / "model.safetensors")
    assert all(torch.equal(unpacked[name], tensor) for name, tensor in whole.items())

    report = call(models, tmp_path / "adapter", *ONE, "--as", "adapter", "--rank", 32)
    card = (tmp_path / "adapter" / "model" / "README.md").read_text()
    assert "adapter of rank 32" in report["outcome"]["stored"] and report["outcome"]["stored"] in card
    assert card.startswith(f"---\nlibrary_name: peft\nbase_model: {models}/base\nlicense: unknown\n")
    model = load_model(models / "base", device="cpu")
    merged = PeftModel.from_pretrained(model, str(tmp_path / "adapter" / "model")).merge_and_unload().state_dict()
    assert all(torch.allclose(merged[name], tensor, atol=1e-5) for name, tensor in whole.items())
