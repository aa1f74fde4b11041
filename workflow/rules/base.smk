"""Base models: pretrained here, or pointers; and the templates that probe a model pretrained here."""


rule base:
    input:
        JOBS.bases.corpus,
    output:
        f"{recorded.RESULTS}/models/{{model}}/base-{{key}}/base.json",
    log:
        f"{LOGS}/{{model}}/base-{{key}}.log",
    benchmark:
        f"{LOGS}/{{model}}/base-{{key}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: JOBS.bases.cpus
    resources:
        **JOBS.resources.of("base"),
    params:
        options=JOBS.bases.options,
        stamp=JOBS.bases.stamp,
        version=RESULT_VERSION["base"],
        state=PATHS.shared_state,
    shell:
        'python "$SCRIPTS"/base.py --out $(dirname {output:q})'
        " {params.options:q} --state {params.state:q} > {log:q} 2>&1"


if any(entry.source == "pretrain" for entry in STUDY.models.values()):

    rule choose_templates:
        input:
            model=JOBS.base,
            templates=STUDY.templates,
            world=PATHS.world,
        output:
            f"{recorded.RESULTS}/models/{{model}}/base-{{key}}/templates-{{choice}}.yaml",
        log:
            f"{LOGS}/{{model}}/templates-{{key}}-{{choice}}.log",
        benchmark:
            f"{LOGS}/{{model}}/templates-{{key}}-{{choice}}.tsv"
        conda:
            "../../envs/train.yaml"
        resources:
            **JOBS.resources.of("choose_templates"),
        params:
            options=grid_paths.options(STUDY.template_choice)
            + grid_paths.options(STUDY.probing, [*probing.SAMPLING_FIELDS, "batch_tokens"])
            + ["--seen-templates", str(STUDY.world.seen_templates)],
            version=RESULT_VERSION["templates"],
            state=PATHS.shared_state,
        shell:
            'python "$SCRIPTS"/choose_templates.py --model {input.model:q} --templates {input.templates:q}'
            " --calibration {input.world:q}/calibration.json --out {output:q}"
            " {params.options:q} --state {params.state:q} > {log:q} 2>&1"
