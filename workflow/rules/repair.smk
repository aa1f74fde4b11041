"""Repairing a model that was fine-tuned elsewhere: one job, which keeps every finished measurement."""

if STUDY.repair:

    rule repair:
        input:
            **JOBS.repair.files(),
        output:
            **JOBS.repair.outputs(),
            # The repaired model; or only a README.md that says that nothing beats leaving it alone.
            model=directory(f"{PATHS.root}/repair/model"),
        log:
            f"{LOGS}/repair.log",
        benchmark:
            f"{LOGS}/repair.tsv"
        conda:
            "../../envs/train.yaml"
        resources:
            **JOBS.resources.of("repair"),
        params:
            arguments=JOBS.repair.arguments,
            options=JOBS.repair.options,
            stamps=[JOBS.stamp(path) for path in (STUDY.repair.base, STUDY.repair.finetuned)],
            version=RESULT_VERSION["repair"],
            state=PATHS.state,
        shell:
            'python "$SCRIPTS"/repair.py {params.arguments:q} --out $(dirname {output.report:q})'
            " {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
