"""Training sets in their order, and the fine-tuning of one cell."""


localrules:
    training_order,


rule training_order:
    input:
        unpack(JOBS.sets.inputs),
    output:
        f"{PATHS.root}/{{model}}/{{train_set}}/order-seed{{seed}}.parquet",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        options=JOBS.sets.options,
        version=RESULT_VERSION["training_set"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/training_set.py --train-set {wildcards.train_set:q}'
        " --seed {wildcards.seed} --model-name {wildcards.model:q} --out {output:q} {params.options:q}"
        " --state {params.state:q} > {log:q} 2>&1"


CHECKPOINT = directory(f"{CELL}/checkpoint")
if STUDY.finetuning.keep == "none":
    # Deleted after its last reader, and trained again for a later one.
    CHECKPOINT = temp(CHECKPOINT)


rule finetune:
    input:
        unpack(JOBS.finetune_inputs),
        deepspeed=STUDY.finetuning.deepspeed or [],
    output:
        checkpoint=CHECKPOINT,
        summary=f"{CELL}/finetune.json",
    log:
        text=f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.log",
        # What happened at each step, which grows while the job runs.
        events=f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.jsonl",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.tsv"
    conda:
        "../../envs/train.yaml"
    threads: JOBS.cpus
    resources:
        **JOBS.resources.of("finetune"),
    params:
        options=JOBS.finetune_options,
        version=RESULT_VERSION["finetune"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/finetune.py --model {input.model:q} --train {input.train:q}'
        " --scale {wildcards.scale} --seed {wildcards.seed} --out {output.checkpoint:q}"
        " --summary {output.summary:q} --nodes {resources.nodes} --cpus {resources.cpus_per_task}"
        " {params.options:q} --state {params.state:q} --events {log.events:q} > {log.text:q} 2>&1"
