# Subjects, stimuli and training targets.


if "simulate" in config:

    rule simulate:
        output:
            store=directory(f"{OUT}/simulated"),
        params:
            step=STEP,
            command=lambda wildcards: simulate_command(None).replace("OUTPUT", f"{OUT}/simulated"),
        log:
            f"{OUT}/logs/simulate.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("simulate", simulate_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("simulate", simulate_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("simulate", simulate_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if config.get("subject_stores"):

    rule subject:
        input:
            files=[f["path"] for f in config.get("files") or []],
        output:
            store=directory(f"{OUT}/{{subject}}.zarr"),
        wildcard_constraints:
            subject="|".join(config["subject_stores"]),
        params:
            step=STEP,
            command=lambda wildcards: subject_command(wildcards.subject).replace("OUTPUT", f"{OUT}/{wildcards.subject}.zarr"),
        log:
            f"{OUT}/logs/{{subject}}.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("preprocess", subject_command(wildcards.subject), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("preprocess", subject_command(wildcards.subject), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("preprocess", subject_command(wildcards.subject), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if config.get("stimulus_store"):

    rule stimuli:
        input:
            files=[f["path"] for f in config.get("files") or []],
        output:
            store=directory(f"{OUT}/stimuli.zarr"),
        params:
            step=STEP,
            command=config["stimulus_store"].replace("OUTPUT", f"{OUT}/stimuli.zarr"),
        log:
            f"{OUT}/logs/stimuli.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("preprocess", config["stimulus_store"], input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("preprocess", config["stimulus_store"], input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("preprocess", config["stimulus_store"], input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if not INPUTS.get("targets") and MODELS.get("encoder"):

    rule targets:
        input:
            stimuli=simulated(),
            model=weights("encoder", "vae_lowlevel", "convnext"),
        output:
            store=directory(f"{OUT}/targets.zarr"),
        params:
            step=STEP,
            command=lambda wildcards: targets_command(None).replace("OUTPUT", f"{OUT}/targets.zarr"),
        log:
            f"{OUT}/logs/targets.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("targets", targets_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("targets", targets_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("targets", targets_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"
