# Image tokens to pictures and words. Stages with shards write one store from several jobs: the jobs write disjoint parts of a store
# beside the output, the last one publishes it there, and the gathering rule gives it its name.


if shards("decode") > 1:

    rule decode_begin:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("unclip", "vae"),
        output:
            begun=temp(f"{OUT}/recon.shards/plan.json"),
        params:
            store=f"{OUT}/recon.shards/recon.zarr",
            command=lambda wildcards: decode_command(None).replace("OUTPUT", f"{OUT}/recon.shards/recon.zarr"),
        log:
            f"{OUT}/logs/decode_begin.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("decode", decode_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("decode", decode_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("decode", decode_command(input), input, attempt, threads),
        shell:
            "rm -rf {params.store} {params.store}.partial; "
            "{params.command} --dry-run --json > {output.begun} 2> {log}"


    rule decode_shard:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("unclip", "vae"),
            begun=f"{OUT}/recon.shards/plan.json",
        output:
            done=temp(touch(f"{OUT}/recon.shards/{{shard}}.done")),
        params:
            command=lambda wildcards: decode_command(None).replace("OUTPUT", f"{OUT}/recon.shards/recon.zarr"),
            of=shards("decode"),
        log:
            f"{OUT}/logs/decode.{{shard}}.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("decode", decode_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("decode", decode_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("decode", decode_command(input), input, attempt, threads),
        shell:
            "{params.command} --shard {wildcards.shard}/{params.of} --resume --threads {threads} > {log} 2>&1"


    rule decode:
        input:
            expand(f"{OUT}/recon.shards/{{shard}}.done", shard=range(1, shards("decode") + 1)),
        output:
            store=directory(f"{OUT}/recon.zarr"),
        params:
            store=f"{OUT}/recon.shards/recon.zarr",
        log:
            f"{OUT}/logs/decode.log",
        conda:
            "../envs/me2.yaml"
        shell:
            "mv {params.store} {output.store} 2> {log}"


else:

    rule decode:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("unclip", "vae"),
        output:
            store=directory(f"{OUT}/recon.zarr"),
        params:
            step=STEP,
            command=lambda wildcards: decode_command(None).replace("OUTPUT", f"{OUT}/recon.zarr"),
        log:
            f"{OUT}/logs/decode.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("decode", decode_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("decode", decode_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("decode", decode_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if shards("caption") > 1:

    rule caption_begin:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("caption", "converter", "git"),
        output:
            begun=temp(f"{OUT}/caption.shards/plan.json"),
        params:
            store=f"{OUT}/caption.shards/caption.zarr",
            command=lambda wildcards: caption_command(None).replace("OUTPUT", f"{OUT}/caption.shards/caption.zarr"),
        log:
            f"{OUT}/logs/caption_begin.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("caption", caption_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("caption", caption_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("caption", caption_command(input), input, attempt, threads),
        shell:
            "rm -rf {params.store} {params.store}.partial; "
            "{params.command} --dry-run --json > {output.begun} 2> {log}"


    rule caption_shard:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("caption", "converter", "git"),
            begun=f"{OUT}/caption.shards/plan.json",
        output:
            done=temp(touch(f"{OUT}/caption.shards/{{shard}}.done")),
        params:
            command=lambda wildcards: caption_command(None).replace("OUTPUT", f"{OUT}/caption.shards/caption.zarr"),
            of=shards("caption"),
        log:
            f"{OUT}/logs/caption.{{shard}}.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("caption", caption_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("caption", caption_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("caption", caption_command(input), input, attempt, threads),
        shell:
            "{params.command} --shard {wildcards.shard}/{params.of} --resume --threads {threads} > {log} 2>&1"


    rule caption:
        input:
            expand(f"{OUT}/caption.shards/{{shard}}.done", shard=range(1, shards("caption") + 1)),
        output:
            store=directory(f"{OUT}/caption.zarr"),
        params:
            store=f"{OUT}/caption.shards/caption.zarr",
        log:
            f"{OUT}/logs/caption.log",
        conda:
            "../envs/me2.yaml"
        shell:
            "mv {params.store} {output.store} 2> {log}"


else:

    rule caption:
        input:
            tokens=f"{OUT}/prior.zarr",
            models=weights("caption", "converter", "git"),
        output:
            store=directory(f"{OUT}/caption.zarr"),
        params:
            step=STEP,
            command=lambda wildcards: caption_command(None).replace("OUTPUT", f"{OUT}/caption.zarr"),
        log:
            f"{OUT}/logs/caption.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("caption", caption_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("caption", caption_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("caption", caption_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if MODELS.get("vae_lowlevel"):

    rule lowlevel:
        input:
            tokens=f"{OUT}/tokens.zarr",
            model=weights("vae_lowlevel"),
        output:
            store=directory(f"{OUT}/lowlevel.zarr"),
        params:
            step=STEP,
            command=lambda wildcards: lowlevel_command(None).replace("OUTPUT", f"{OUT}/lowlevel.zarr"),
        log:
            f"{OUT}/logs/lowlevel.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("lowlevel", lowlevel_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("lowlevel", lowlevel_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("lowlevel", lowlevel_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


if MODELS.get("sdxl"):

    rule refine:
        input:
            recon=f"{OUT}/recon.zarr",
            caption=f"{OUT}/caption.zarr",
            model=weights("sdxl"),
        output:
            store=directory(f"{OUT}/refined.zarr"),
        params:
            step=STEP,
            command=lambda wildcards: refine_command(None).replace("OUTPUT", f"{OUT}/refined.zarr"),
        log:
            f"{OUT}/logs/refine.log",
        conda:
            "../envs/me2.yaml"
        threads: lambda wildcards, input: cores("refine", refine_command(input), input)
        resources:
            mem_mb=lambda wildcards, input, attempt, threads: megabytes("refine", refine_command(input), input, attempt, threads),
            runtime=lambda wildcards, input, attempt, threads: minutes("refine", refine_command(input), input, attempt, threads),
        shell:
            "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


rule blend:
    input:
        recon=f"{OUT}/refined.zarr" if asked("refine") else f"{OUT}/recon.zarr",
        lowlevel=f"{OUT}/lowlevel.zarr",
    output:
        store=directory(f"{OUT}/blended.zarr"),
    params:
        step=STEP,
        command=lambda wildcards: blend_command(None).replace("OUTPUT", f"{OUT}/blended.zarr"),
    log:
        f"{OUT}/logs/blend.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("blend", blend_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("blend", blend_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("blend", blend_command(input), input, attempt, threads),
    shell:
        "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"
