"""The questions, and for a model pretrained here the world or sample they come from."""

if STUDY.facts.source == "world" or any(entry.source == "pretrain" for entry in STUDY.models.values()):

    rule world:
        input:
            templates=STUDY.templates,
        output:
            directory(PATHS.world),
        log:
            f"{LOGS}/world.log",
        benchmark:
            f"{LOGS}/world.tsv"
        conda:
            "../../envs/data.yaml"
        resources:
            **JOBS.resources.of("world"),
        params:
            options=grid_paths.world_options(STUDY),
            version=RESULT_VERSION["world"],
            state=PATHS.shared_state,
        shell:
            'python "$SCRIPTS"/world.py --templates {input.templates:q} --out {output:q}'
            " {params.options:q} --state {params.state:q} > {log:q} 2>&1"


rule facts:
    input:
        world=PATHS.world if STUDY.facts.source == "world" else [],
        aliases=STUDY.facts.aliases or [],
    output:
        PATHS.facts,
    log:
        f"{LOGS}/facts.log",
    benchmark:
        f"{LOGS}/facts.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **JOBS.resources.of("facts"),
    params:
        options=grid_paths.fact_options(STUDY),
        version=RESULT_VERSION["facts"],
        state=PATHS.shared_state,
    shell:
        'python "$SCRIPTS"/facts.py --out {output:q} {params.options:q} --state {params.state:q} > {log:q} 2>&1'
