"""Base models: pretrained here, or pointers; and the templates that probe a model pretrained here."""


def base_options(wildcards):
    entry = STUDY.models[wildcards.model]
    fields = set(grid_paths.BASE_FIELDS) - (set() if entry.source == "pretrain" else {"pretraining"})
    return ["--name", wildcards.model] + grid_paths.options(entry, fields)


def corpus_of(wildcards):
    return PATHS.world if STUDY.models[wildcards.model].source == "pretrain" else []


def corpus_option(wildcards):
    pretrained = STUDY.models[wildcards.model].source == "pretrain"
    return ["--corpus", f"{PATHS.world}/corpus.txt"] if pretrained else []


rule base:
    input:
        corpus_of,
    output:
        f"{grid_paths.RESULTS}/models/{{model}}/base-{{key}}/base.json",
    params:
        options=base_options,
        corpus=corpus_option,
        common=common_options("base", shared=True),
    log:
        f"{LOGS}/{{model}}/base-{{key}}.log",
    benchmark:
        f"{LOGS}/{{model}}/base-{{key}}.tsv"
    conda:
        "../../envs/train.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/base.py --out $(dirname {output:q}) {params.corpus:q}"
        " {params.options:q} {params.common:q} > {log:q} 2>&1"


if any(entry.source == "pretrain" for entry in STUDY.models.values()):

    rule choose_templates:
        input:
            model=base_of,
            templates=STUDY.templates,
            world=PATHS.world,
        output:
            f"{grid_paths.RESULTS}/models/{{model}}/base-{{key}}/templates-{{choice}}.yaml",
        params:
            options=grid_paths.options(STUDY.template_choice)
            + grid_paths.options(STUDY.probing)
            + ["--seen-templates", str(STUDY.world.seen_templates)],
            common=common_options("choose_templates", shared=True),
        log:
            f"{LOGS}/{{model}}/templates-{{key}}-{{choice}}.log",
        benchmark:
            f"{LOGS}/{{model}}/templates-{{key}}-{{choice}}.tsv"
        conda:
            "../../envs/train.yaml"
        shell:
            "{PYTHON} {SCRIPTS}/choose_templates.py --model {input.model:q} --templates {input.templates:q}"
            " --calibration {input.world:q}/calibration.json --out {output:q}"
            " {params.options:q} {params.common:q} > {log:q} 2>&1"
