"""Training sets in their order, and the fine-tuning of one cell."""


localrules:
    training_order,


rule training_order:
    input:
        JOBS.mastery,
    output:
        f"{PATHS.root}/{{model}}/{{train_set}}/order-seed{{seed}}.parquet",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/order-seed{{seed}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        common=JOBS.common("training_set"),
    shell:
        'python "$SCRIPTS"/training_set.py --mastery {input:q} --train-set {wildcards.train_set}'
        " --seed {wildcards.seed} --model-name {wildcards.model:q} --out {output:q} {params.common:q}"
        " > {log:q} 2>&1"


rule finetune:
    input:
        model=JOBS.base,
        train=JOBS.order,
        deepspeed=JOBS.deepspeed,
    output:
        checkpoint=directory(f"{CELL}/checkpoint"),
        summary=f"{CELL}/finetune.json",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/finetune.tsv"
    conda:
        "../../envs/train.yaml"
    threads: JOBS.processes
    resources:
        # Minutes; 0 is no limit. Handed over as a resource: another limit reruns nothing.
        runtime=0,
    params:
        options=JOBS.finetune_options,
        common=JOBS.common("finetune"),
    shell:
        'python "$SCRIPTS"/finetune.py --model {input.model:q} --train {input.train:q}'
        " --scale {wildcards.scale} --seed {wildcards.seed} --out {output.checkpoint:q}"
        " --summary {output.summary:q} --time-limit-minutes {resources.runtime}"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"
