"""Training sets in their order, and the fine-tuning of one cell."""


localrules:
    training_order,


rule training_order:
    input:
        mastery_of,
    output:
        f"{PATHS.root}/{{model}}/{{train_set}}/order-seed{{seed}}.parquet",
    params:
        common=common_options("training_set"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/training_set.py --mastery {input:q} --train-set {wildcards.train_set}"
        " --seed {wildcards.seed} --model-name {wildcards.model:q} --out {output:q} {params.common:q}"
        " > {log:q} 2>&1"


def finetune_options(wildcards):
    processes = STUDY.models[wildcards.model].launch.processes
    own = ["--processes", str(processes), "--bos", bos_of(wildcards)]
    return own + grid_paths.options(STUDY.finetuning)


rule finetune:
    input:
        model=base_of,
        train=order_of,
    output:
        checkpoint=directory(f"{CELL}/checkpoint"),
        summary=f"{CELL}/finetune.json",
    params:
        options=finetune_options,
        common=common_options("finetune"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/finetune.py --model {input.model:q} --train {input.train:q}"
        " --scale {wildcards.scale} --seed {wildcards.seed} --out {output.checkpoint:q}"
        " --summary {output.summary:q} {params.options:q} {params.common:q} > {log:q} 2>&1"
