"""Mastery: how well a base model knows each fact."""


rule mastery:
    input:
        unpack(JOBS.mastery_inputs),
        facts=PATHS.facts,
    output:
        **JOBS.mastery_outputs(),
    log:
        f"{LOGS}/{{model}}/mastery-{{key}}.log",
    benchmark:
        f"{LOGS}/{{model}}/mastery-{{key}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: JOBS.mastery_cpus
    resources:
        **JOBS.resources.of("mastery"),
    params:
        options=JOBS.mastery_options,
        version=RESULT_VERSION["mastery"],
        state=PATHS.shared_state,
    shell:
        'python "$SCRIPTS"/mastery.py --facts {input.facts:q} --out {output.table:q}'
        " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
