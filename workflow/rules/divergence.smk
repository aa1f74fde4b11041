"""Token-level KL divergence of one cell from its base model; what the base alone is needed for, once per base."""


rule divergence_base:
    input:
        base=JOBS.base,
        facts=JOBS.mastery,
        templates=JOBS.templates,
    output:
        f"{grid_paths.RESULTS}/models/{{model}}/mastery-{{key}}/divergence-{{choice}}.parquet",
    log:
        f"{LOGS}/{{model}}/mastery-{{key}}-divergence-{{choice}}.log",
    benchmark:
        f"{LOGS}/{{model}}/mastery-{{key}}-divergence-{{choice}}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("divergence_base"),
    params:
        options=JOBS.divergence_base_options,
        version=RESULT_VERSION["divergence_base"],
        state=PATHS.shared_state,
    shell:
        'python "$SCRIPTS"/divergence_base.py --base {input.base:q} --facts {input.facts:q}'
        " --templates {input.templates:q} --out {output:q}"
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"


rule divergence:
    input:
        base=JOBS.base,
        finetuned=JOBS.model,
        of_base=JOBS.divergence_base,
    output:
        table=f"{CELL}/divergence/kl.parquet",
        summary=f"{CELL}/divergence/summary.json",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/divergence.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/divergence.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("divergence"),
    params:
        options=JOBS.divergence_options,
        version=RESULT_VERSION["divergence"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/divergence.py --base {input.base:q} --finetuned {input.finetuned:q}'
        " --of-base {input.of_base:q} --out $(dirname {output.summary:q})"
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
