"""Closed-book question answering of one cell, or of the base model (n = 0)."""


def evaluate_inputs(wildcards):
    inputs = {"model": model_of(wildcards), "facts": mastery_of(wildcards)}
    if wildcards.strategy == grid_cells.FULL:
        inputs["train"] = order_of(wildcards)
    return inputs


def training_set_options(wildcards):
    if wildcards.strategy != grid_cells.FULL:
        return []
    return ["--train", order_of(wildcards), "--scale", wildcards.scale]


def evaluate_options(wildcards):
    options = training_set_options(wildcards) + ["--bos", bos_of(wildcards)]
    settings = STUDY.evaluation
    if wildcards.strategy == grid_cells.FEWSHOT:
        settings = settings.model_copy(update={"shots": STUDY.experiments.scaling.shots})
    return options + grid_paths.options(settings)


rule evaluate:
    input:
        unpack(evaluate_inputs),
    output:
        answers=f"{CELL}/evaluate/answers.parquet",
        summary=f"{CELL}/evaluate/summary.json",
    params:
        options=evaluate_options,
        common=common_options("evaluate"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/evaluate.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/evaluate.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/evaluate.py --model {input.model:q} --facts {input.facts:q}"
        " --out $(dirname {output.summary:q}) {params.options:q} {params.common:q} > {log:q} 2>&1"
