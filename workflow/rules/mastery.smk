"""Mastery: how well a base model knows each fact."""


def mastery_inputs(wildcards):
    """A finished table replaces the probing and all that it needs."""
    table = STUDY.models[wildcards.model].mastery
    if table:
        return {"table": table}
    return {"model": base_of(wildcards), "templates": templates_of(wildcards)}


def mastery_options(wildcards):
    table = STUDY.models[wildcards.model].mastery
    if table:
        return ["--import", table]
    sources = ["--model", base_of(wildcards), "--templates", templates_of(wildcards)]
    return sources + ["--bos", bos_of(wildcards)] + grid_paths.options(STUDY.probing)


rule mastery:
    input:
        unpack(mastery_inputs),
        facts=PATHS.facts,
    output:
        table=f"{grid_paths.RESULTS}/models/{{model}}/mastery-{{key}}/mastery.parquet",
        summary=f"{grid_paths.RESULTS}/models/{{model}}/mastery-{{key}}/mastery.json",
    params:
        options=mastery_options,
        common=common_options("mastery", shared=True),
    log:
        f"{LOGS}/{{model}}/mastery-{{key}}.log",
    benchmark:
        f"{LOGS}/{{model}}/mastery-{{key}}.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/mastery.py --facts {input.facts:q} --out {output.table:q}"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"
