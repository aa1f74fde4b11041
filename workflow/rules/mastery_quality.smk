"""How good the measurement of mastery is."""

if STUDY.experiments.mastery:
    QUALITY = f"{recorded.RESULTS}/models/{{model}}/mastery-{{key}}/quality-{{choice}}"

    rule mastery_quality:
        input:
            unpack(JOBS.quality_inputs),
        output:
            summary=f"{QUALITY}/summary.json",
            tables=[f"{QUALITY}/{name}" for name in STUDY.experiments.mastery.tables],
        log:
            f"{LOGS}/{{model}}/mastery-{{key}}-quality-{{choice}}.log",
        benchmark:
            f"{LOGS}/{{model}}/mastery-{{key}}-quality-{{choice}}.tsv"
        conda:
            "../../envs/train.yaml"
        resources:
            **JOBS.resources.of("mastery_quality"),
        params:
            options=JOBS.quality_options,
            version=RESULT_VERSION["mastery_quality"],
            state=PATHS.shared_state,
        shell:
            'python "$SCRIPTS"/mastery_quality.py --mastery {input.mastery:q} --out $(dirname {output.summary:q})'
            " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
