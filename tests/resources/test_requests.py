"""What jobs ask a cluster for: the arithmetic, and what a configuration turns it into."""

from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

from repository import ROOT
from sftlens.commands.study.requirements import describe
from sftlens.config import loading
from sftlens.config.stages.model import Geometry, Launch, PretrainingSettings
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ConfigError
from sftlens.resources import memory
from sftlens.resources.requests import Resources
from sftlens.synthetic.pretraining import make_model

DEMO = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
PAPER = loading.load_file(ROOT / "config/paper.yaml")
LLAMA_3_8B = PAPER.models["llama-3-8b"].shape


def asked(
    launch: dict, rule: str = "finetune", attempt: int = 1, probing: dict | None = None, **settings: object
) -> dict:
    """Return what a job of the demo's model asks for; keys that are left out are not there."""
    values = {**DEMO, "models": {"tiny": {**DEMO["models"]["tiny"], "launch": launch}}}
    values["finetuning"] = {**values.get("finetuning", {}), **settings}
    values["probing"] = probing or {}
    functions = Resources(loading.load(values)).of(rule)
    wildcards = SimpleNamespace(model="tiny", scale="60", train_set="D0")
    found = {}
    for key, function in functions.items():
        if not callable(function):
            found[key] = function
            continue
        takes_attempt = "attempt" in function.__code__.co_varnames[: function.__code__.co_argcount]
        found[key] = function(wildcards, attempt=attempt) if takes_attempt else function(wildcards)
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("name", list(PAPER.models))
def test_parameters_are_those_of_the_model(name: str):
    geometry = PAPER.models[name].shape
    with torch.device("meta"):
        model = make_model(geometry, PretrainingSettings())
    assert geometry.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(num_hidden_layers=2, num_key_value_heads=8),
        LlamaConfig(num_hidden_layers=2, attention_bias=True),
        MistralConfig(num_hidden_layers=2, hidden_size=5120, head_dim=128),  # as Mistral NeMo
        Qwen2Config(num_hidden_layers=2, num_key_value_heads=2, tie_word_embeddings=True),
        Qwen3Config(num_hidden_layers=2, hidden_size=1024, num_attention_heads=16, num_key_value_heads=8, head_dim=128),
    ],
    ids=["llama", "llama with biases", "mistral", "qwen2", "qwen3"],
)
def test_parameters_and_cache_of_other_decoders_are_exact(config: PreTrainedConfig):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    geometry = Geometry.of(config.to_dict())
    assert geometry.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert memory.largest_tensor(geometry) == max(parameter.numel() for parameter in model.parameters())
    attention = model.model.layers[0].self_attn
    kept = 2 * 2 * attention.k_proj.out_features  # keys and values of two layers
    computed = 10 * config.hidden_size + 4 * config.intermediate_size
    assert memory.generating(geometry, 1, memory.STORED) == memory.STORED * (kept + computed)


@pytest.mark.parametrize(("stage", "total"), [(1, 2 + 2 + 16 / 8), (2, 2 + 2 / 8 + 16 / 8), (3, 20 / 8)])
def test_zero_divides_what_it_says(stage: int, total: float):
    need = memory.training(LLAMA_3_8B, FinetuneSettings(zero_stage=stage), processes=8)
    held = need.weights + need.gradients + need.optimizer + need.step
    assert held / LLAMA_3_8B.parameters == pytest.approx(total, rel=0.01)


def test_offloading_moves_memory_from_the_gpus_to_the_node():
    plain, moved = (
        memory.training(LLAMA_3_8B, FinetuneSettings(zero_stage=3, offload=offload), 8)
        for offload in ("none", "parameters")
    )
    assert plain.device - moved.device == pytest.approx(moved.host - plain.host)
    assert moved.offloaded > 15e9


def test_one_node_asks_for_what_one_node_needs():
    found = asked({"gpus_per_node": 4, "cpus_per_process": 3})
    assert found["nodes"] == 1 and found["gpu"] == 4 and found["cpus_per_task"] == 12
    assert not found.keys() & {"mpi", "tasks", "gres", "tasks_per_gpu"}


def test_several_nodes_ask_node_by_node():
    found = asked({"nodes": 2, "gpus_per_node": 4})
    assert (found["nodes"], found["tasks"], found["mpi"], found["gres"]) == (2, 2, "srun", "gpu:4")
    assert found["tasks_per_gpu"] == 0 and found["gpu"] == 0
    assert "gres" not in asked({"nodes": 2, "processes": 4})


def test_only_memory_grows_with_each_try_of_a_training_up_to_a_cap():
    tries = [asked({"processes": 2}, attempt=attempt) for attempt in (1, 2, 3, 9)]
    first, second, third, ninth = (found.pop("mem_mb") for found in tries)
    assert first < second < third == ninth == pytest.approx(2 * first, rel=0.01)
    assert all(found == tries[0] for found in tries)


def test_models_without_gpus_are_measured_without():
    assert asked({}, "evaluate")["gpu"] == 0 and asked({"gpus_per_node": 2}, "evaluate")["gpu"] == 1
    assert memory.gpus(PAPER, PAPER.models["llama-3-70b"]) == 3


def test_a_process_drives_one_gpu():
    with pytest.raises(ConfigError, match="processes 2 and gpus_per_node 4 differ"):
        asked({"gpus_per_node": 4, "processes": 2})


def test_the_paper_s_models_fit_where_the_shipped_study_puts_them():
    for model in PAPER.models.values():
        need = memory.training(model.shape, PAPER.finetuning, model.launch.world_size)
        assert need.device < model.launch.gpu_memory_gb * memory.GB


def test_the_tied_embedding_counts_once():
    tied = Geometry(layers=1, hidden_size=8, intermediate_size=16, heads=2, kv_heads=1, vocab_size=100, tied=True)
    untied = tied.model_copy(update={"tied": False})
    assert untied.parameters - tied.parameters == 800


def test_the_page_on_clusters_shows_what_the_command_prints():
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert describe(PAPER) in page


def test_processes_that_probe_ask_for_what_each_of_them_needs():
    one, four, many = (asked({"gpus_per_node": 4}, "mastery", probing={"processes": n}) for n in (1, 4, 64))
    assert (one["gpu"], four["gpu"]) == (1, 4) and four["mem_mb"] > 2 * one["mem_mb"]
    # One node has no more.
    assert many == four
    assert asked({}, "mastery", probing={"processes": 3})["gpu"] == 0


@pytest.mark.parametrize("attempt", [1, 4])
def test_no_try_of_a_probe_asks_for_more_than_the_setting_says(attempt: int):
    """A 70B would be probed for days; a probe goes on where its time was over."""
    resources, wildcards = Resources(PAPER), SimpleNamespace(model="llama-3-70b", scale="all")
    assert PAPER.models["llama-3-70b"].launch.longest_minutes == 1440
    assert resources.of("mastery")["runtime"](wildcards, attempt=attempt) == 1440
    assert resources.of("finetune")["runtime"](wildcards, attempt=attempt) == 1440
    assert asked({"longest_minutes": 45}, "mastery", attempt, {"samples": 10**6})["runtime"] == 45


def test_the_main_memory_of_a_job_on_gpus_holds_no_whole_model():
    resources, wildcards = Resources(PAPER), SimpleNamespace(model="llama-3-70b", scale="60")
    model = PAPER.models["llama-3-70b"].shape
    assert resources.of("evaluate")["mem_mb"](wildcards, attempt=1) * memory.MB < 2 * model.parameters / 4
    model = PAPER.models["llama-3-70b"].model_copy(update={"launch": Launch()})  # on a CPU
    assert memory.measuring(PAPER, model) > 2 * model.shape.parameters


def test_a_job_on_cpus_has_room_for_fp32_where_it_may_compute_in_it():
    """Of a large model one layer at a time; the cache and the activations twice, and what training holds."""
    model = PAPER.models["llama-3-8b"].model_copy(update={"launch": Launch()})
    count, held = model.shape.parameters, memory.generating(model.shape, memory.side_by_side(PAPER), memory.STORED)
    auto, stored = (PAPER.model_copy(update={"compute_dtype": name}) for name in ("auto", "stored"))
    more = memory.measuring(auto, model) - memory.measuring(stored, model)
    assert held < more < held + count / 4
    small = model.shape.model_copy(update={"layers": 1, "hidden_size": 128, "vocab_size": 1000})
    small_model = model.model_copy(update={"source": "hub", "geometry": small})
    small_model.__dict__.pop("shape", None)
    assert memory.computed(auto, small_model) == 4 and memory.computed(stored, small_model) == 2
    assert memory.recipe(auto, model).dtype == "float32" and memory.recipe(stored, model).dtype == "bfloat16"
    on_gpus = PAPER.models["llama-3-8b"]
    assert memory.recipe(auto, on_gpus).dtype == "bfloat16" and memory.computed(auto, on_gpus) == 2


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("kl@3e-05", 240 * 8 * LLAMA_3_8B.vocab_size * 2),  # the base's logits of eight tokens an answer
        ("l2-sp", 4 * LLAMA_3_8B.parameters),
        ("masked", 8 * LLAMA_3_8B.parameters),  # one byte in each of eight processes
        ("dft", 0),
    ],
)
def test_memory_of_a_training_is_that_of_its_strategy(strategy: str, more: int):
    model = PAPER.models["llama-3-8b"]
    study = PAPER.model_copy(update={"models": {"m": model.model_copy(update={"launch": Launch(gpus_per_node=8)})}})
    need = Resources(study).of("finetune")["mem_mb"]
    cell = {"model": "m", "train_set": "D2", "scale": "240"}
    asked = {name: need(SimpleNamespace(**cell, strategy=name), attempt=1) for name in ("full", strategy)}
    assert asked[strategy] - asked["full"] == pytest.approx(memory.SLACK * more / 1e6, rel=0.05, abs=2)
