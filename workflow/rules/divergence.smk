"""Token-level KL divergence of one cell from its base model."""


def divergence_options(wildcards):
    return ["--bos", bos_of(wildcards)] + grid_paths.options(STUDY.divergence)


rule divergence:
    input:
        base=base_of,
        finetuned=model_of,
        facts=mastery_of,
        templates=templates_of,
    output:
        table=f"{CELL}/divergence/kl.parquet",
        summary=f"{CELL}/divergence/summary.json",
    params:
        options=divergence_options,
        common=common_options("divergence"),
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/divergence.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/divergence.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/divergence.py --base {input.base:q} --finetuned {input.finetuned:q}"
        " --facts {input.facts:q} --templates {input.templates:q} --out $(dirname {output.summary:q})"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"
