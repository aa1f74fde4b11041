"""Token-level KL divergence of one cell from its base model."""


rule divergence:
    input:
        base=JOBS.base,
        finetuned=JOBS.model,
        facts=JOBS.mastery,
        templates=JOBS.templates,
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
        **JOBS.resources.divergence(),
    params:
        options=JOBS.divergence_options,
        version=RESULT_VERSION["divergence"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/divergence.py --base {input.base:q} --finetuned {input.finetuned:q}'
        " --facts {input.facts:q} --templates {input.templates:q} --out $(dirname {output.summary:q})"
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
