"""What a model computes in: chosen by the machine, exact, told with the result, and never mixed up with another."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from other_models import other_model
from script_calls import ok
from sftlens import files
from sftlens.models import checkpoints
from sftlens.models.loading import computing
from tiny import tiny_model, tiny_tokenizer

WORDS = ("red", "river", "north", "mine", "deep", "old", "silver", "creek", "hill")
LARGE = 135_000_000
OLD_CPU = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nflags\t\t: avx512_bf16\n"
CPUS = {
    "": set(),
    OLD_CPU: set(),
    "flags\t\t: fpu avx512f avx512_bf16\n": {torch.bfloat16},
    "flags\t\t: amx_bf16 avx512_fp16 amx_tile\n": {torch.bfloat16, torch.float16},
    "Features\t: fp asimd i8mm bf16\n": {torch.bfloat16},
}


@pytest.mark.parametrize("text", CPUS)
def test_auto_is_fp32_where_a_cpu_has_no_instructions_for_the_stored_type(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cpuinfo").write_text(text)
    flags = computing.cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(computing, "cpu_flags", lambda: flags)
    for stored in (torch.bfloat16, torch.float16):
        wanted = stored if stored in CPUS[text] else torch.float32
        assert computing.choose("auto", stored, LARGE, on_cpu=True) == wanted
        assert computing.choose("auto", stored, 10**6, on_cpu=True) == torch.float32  # small: no slower anywhere
        assert computing.choose("auto", stored, LARGE, on_cpu=False) == stored  # a GPU
        assert computing.choose("stored", stored, LARGE, on_cpu=True) == stored
        assert computing.choose("float32", stored, LARGE, on_cpu=False) == torch.float32
    assert computing.choose("auto", torch.float32, LARGE, on_cpu=True) == torch.float32


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    """Of a prompt, and of one more token after it."""
    with torch.no_grad():
        first = model(input_ids=ids, use_cache=True)
        return torch.cat([first.logits, model(input_ids=ids[:, :1], past_key_values=first.past_key_values).logits], 1)


@pytest.mark.parametrize("kind", ["llama", "tied", "qwen3_vl", "mixtral"])
def test_a_model_that_is_converted_layer_by_layer_is_the_one_that_is_converted_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if kind in ("llama", "tied"):
        tiny_model(tmp_path / "m", std=0.2, dtype=torch.bfloat16, tied=kind == "tied")
    else:
        other_model(tmp_path / "m", kind).to(torch.bfloat16).save_pretrained(tmp_path / "m")
    ids = torch.randint(3, 300, (5, 17), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(computing, "HEAD_NUMBERS", 1000)  # the output layer in parts of some rows
    whole = checkpoints.load_model(tmp_path / "m", device="cpu", compute="float32")
    monkeypatch.setattr(computing, "CONVERTED_WHOLE", 1000)
    layered = checkpoints.load_model(tmp_path / "m", device="cpu", compute="float32")
    stored = {name: tensor.clone() for name, tensor in layered.state_dict().items()}
    assert whole.dtype == torch.float32 and layered.dtype == torch.bfloat16
    assert computing.type_of(layered) == torch.float32
    assert torch.equal(logits(layered, ids), logits(whole, ids))
    # The weights are as they were afterwards, also where a layer failed.
    with pytest.raises(RuntimeError), torch.no_grad():
        layered(inputs_embeds=torch.zeros(1, 2, 7))
    assert all(torch.equal(tensor, stored[name]) for name, tensor in layered.state_dict().items())
    assert not torch.equal(logits(checkpoints.load_model(tmp_path / "m", device="cpu"), ids), logits(whole, ids))


def test_a_tensor_stored_wider_than_its_model_is_the_same_in_every_type(tmp_path: Path):
    """config.json says bf16, one file is fp32: transformers rounds it, and so the model that computes in fp32 is."""
    model = tiny_model(tmp_path / "m", std=0.2)
    checkpoints.save_model(model, None, tmp_path / "mixed")
    config = files.read_json(tmp_path / "mixed" / "config.json", dict)
    files.write_json(tmp_path / "mixed" / "config.json", {**config, "dtype": "bfloat16"})
    stored, wide = (
        checkpoints.load_model(tmp_path / "mixed", device="cpu", compute=name).state_dict()
        for name in ("stored", "float32")
    )
    assert all(torch.equal(stored[name].float(), wide[name]) for name in stored)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in bf16, and questions."""
    folder = tmp_path_factory.mktemp("asked")
    questions = [" ".join(["Who owns", *(WORDS[(i * j + j) % 9] for j in range(1, 2 + i % 14))]) for i in range(90)]
    facts = pd.DataFrame({"question": sorted(set(questions)), "split": "test", "object": "x"})
    facts.assign(fact_id=facts["question"]).to_parquet(folder / "facts.parquet")
    tiny_model(folder / "m", tokenizer=tiny_tokenizer(questions), std=0.2, dtype=torch.bfloat16)
    return folder


def evaluated(asked: Path, out: Path, *options: object) -> tuple[list[str], dict]:
    ok("evaluate.py", "--model", asked / "m", "--facts", asked / "facts.parquet", "--out", out, *options)
    return pd.read_parquet(out / "answers.parquet")["output"].tolist(), files.read_json(out / "summary.json", dict)


def test_answers_of_a_model_in_half_precision_do_not_depend_on_their_batch(asked: Path, tmp_path: Path):
    few, many = (
        evaluated(asked, tmp_path / str(size), "--batch-tokens", size, "--device", "cpu") for size in (64, 16384)
    )
    assert few[0] == many[0]
    assert few[1]["run"]["computed_in"] == few[1]["settings"]["compute_dtype"] == "float32"
    assert not any("rebatched" in row["metric"] for row in few[1]["metrics"])  # there is no such floor


def test_a_result_is_never_that_of_another_type(asked: Path, tmp_path: Path):
    """One folder of finished work: what was computed in one type is not published for the other."""
    state = ("--state", tmp_path / "state", "--device", "cpu")
    auto, told = evaluated(asked, tmp_path / "auto", *state)
    stored, as_stored = evaluated(asked, tmp_path / "stored", *state, "--compute-dtype", "stored")
    assert auto != stored
    assert "compute_dtype" not in as_stored["settings"] and as_stored["run"]["computed_in"] == "bfloat16"
    again, _ = evaluated(asked, tmp_path / "again", *state, "--compute-dtype", "float32")
    assert again == auto and told["settings"]["compute_dtype"] == "float32"
    assert len(list((tmp_path / "state").glob("evaluate-*"))) == 2
