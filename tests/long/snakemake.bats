# Pipelines: Make and Snakemake (7.21 of Debian, 9 of PyPI) give the same content; what is killed goes on; faults are named.
setup_file() {
  load ../support/load
  load ../support/small_demo
  cd "$BATS_FILE_TMPDIR" || return 1
  small_demo > make.log 2>&1 || { tail make.log >&2; return 1; }
  demo_digests demo > expected
}
setup() {
  load ../support/load
  load ../support/small_demo
  load ../support/snakemake
  setup_case
  unset SNAKEMAKE
  ln -s "$BATS_FILE_TMPDIR/tiny" tiny
  # The options of pipelines/demo.mk at the sizes of small_demo.
  cat > tiny.yaml << 'Y'
out: demo
subject: subj01
sessions: 1
pretrain_subjects: [subj02]
stages: [decode, caption, refine, score, retrieval, captions, report]
shards: {decode: 2, caption: 2}
simulate: --subjects 2 --sessions 1 --trials-per-session 96 --test-images 10
models: {encoder: tiny/encoder, unclip: tiny/unet, vae: tiny/vae, vae_lowlevel: tiny/vae, caption: tiny/git, sdxl: tiny/refiner}
options:
  targets: --lowlevel-size 64
  train: --hidden 32 --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --evaluate-interval 0
  pretrain: --epochs 1 --batch-size 12
  finetune: --epochs 1 --batch-size 48
  prior: --steps 4 --draws 8 --mean --guidance 1
  refine: --vae tiny/vae --size 64 --negative ""
  score: --scene-labels demo/simulated/stimuli.zarr --scorer tiny/scorer --metrics pixcorr,ssim,recon_category,recon_colour,tower_retrieval,tower_two_way --allow-missing
  retrieval: --allow-missing
  captions: --scene-labels demo/simulated/stimuli.zarr --allow-missing
resources:
  pretrain: {threads: 2}
Y
}

whole_run() {
  run snake --configfile tiny.yaml --config bin=nowhere -j 2 -n
  assert_failure
  assert_output --partial "$PWD/nowhere: make -f Makefile.pipeline build makes them"
  run -0 snake --configfile tiny.yaml --lint
  run -0 snake --configfile tiny.yaml -j 2 -n
  assert [ ! -e demo/targets.zarr ]
  run -0 snake --configfile tiny.yaml -j 2
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
  assert [ -s demo/report.html ]
  for log in decode.1 decode.2 caption.1 caption.2; do assert [ -e demo/logs/$log.log ]; done
  assert [ ! -e demo/caption.shards/caption.zarr ]
  run -0 snake --configfile tiny.yaml -j 2
  assert_output --partial "Nothing to be done"

  # Other weights make again what they make, and what depends on that.
  touch tiny/unet/model.safetensors
  run -0 snake --configfile tiny.yaml -j 2 -n
  for rule in decode_shard refine score report; do assert_output --regexp "rule $rule:"; done
  for rule in prior caption captions; do refute_output --regexp "rule $rule:"; done
  run -0 snake --configfile tiny.yaml -j 2

  # A changed option runs again what depends on it, and nothing else.
  sed -i 's/--steps 4/--steps 5/' tiny.yaml
  run -0 snake --configfile tiny.yaml -j 2 -n
  for rule in prior decode_shard caption_shard caption report; do assert_output --regexp "rule $rule:"; done
  for rule in targets pretrain finetune align embed; do refute_output --regexp "rule $rule:"; done

  # Threads are what the tool's dry run says, where the configuration does not.
  mkdir bin
  ln -s "$BUILD"/bin/* bin/
  rm bin/me2-prior
  printf '#!/bin/sh\ncase "$*" in *--dry-run*) "%s" "$@" | jq .threads=2 ;; *) exec "%s" "$@" ;; esac\n' "$BUILD/bin/me2-prior" "$BUILD/bin/me2-prior" > bin/me2-prior
  chmod +x bin/me2-prior
  run -0 "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --config bin="$PWD/bin" --configfile tiny.yaml -j 2 demo/prior.zarr
  assert_equal "$(grep -oE 'rule [a-z_]+:|^ +threads:.*' <<< "$output" | tr -s ' \n' ' ')" "rule prior: threads: 2 "
}
@test "Snakemake 7: lint, dry run, whole run as Make's to the byte, a changed option redoes what depends on it" { snakemake7; whole_run; }
@test "Snakemake 9: lint, dry run, whole run as Make's to the byte, a changed option redoes what depends on it" { snakemake9; whole_run; }

killed_and_rerun() {
  # 10 s is about the length of a whole run; where the kill falls is not the same twice.
  for n in 1 2 3; do
    set -m
    snake --configfile tiny.yaml -j 2 --rerun-incomplete > log 2>&1 &
    job=$!
    set +m
    sleep "$n.$((RANDOM % 10))"
    kill -9 -- "-$job" 2> /dev/null || true
    wait "$job" || true
    snake --configfile tiny.yaml --unlock > /dev/null || true
  done
  run -0 snake --configfile tiny.yaml -j 2 --rerun-incomplete
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}
@test "Snakemake 7 killed and run again ends in the same bytes" { snakemake7; killed_and_rerun; }
@test "Snakemake 9 killed and run again ends in the same bytes" { snakemake9; killed_and_rerun; }

@test "each of Make's stages killed at a random moment, then run again, ends in the same bytes" {
  ln -sfn "$BATS_FILE_TMPDIR/tiny" tiny
  local landed=0
  for stage in simulated/stimuli.zarr/zarr.json targets.zarr/zarr.json pretrained/model.safetensors finetuned/model.safetensors latent.zarr/zarr.json tokens.zarr/zarr.json \
    prior.zarr/zarr.json recon.zarr/zarr.json caption.zarr/zarr.json refined.zarr/zarr.json scores.csv retrieval.csv report.html; do
    product=demo/$stage  # the store or folder it is in
    case $stage in simulated/*) product=demo/simulated ;; */zarr.json | */model.safetensors) product=demo/${stage%/*} ;; esac
    find . -path './demo/*' -type f -not -path '*.partial*' -not -name times.txt | sort | xargs -r sha256sum > sums
    for try in 1 2 3 4; do  # later tries wait less: the kill is to fall while the stage works
      set -m
      small_make "$PWD/demo/$stage" > log 2>&1 &
      job=$!
      set +m
      sleep "$(python3 -c "import random; print(random.random() * 2 ** (1 - $try))")"
      kill -9 -- "-$job" 2> /dev/null || true
      status=0
      wait "$job" || status=$?
      if [ $status != 137 ]; then rm -r "$product"; continue; fi
      landed=$((landed + 1))
      break
    done
    # Everything before it is as it was.
    [ ! -s sums ] || sha256sum --quiet -c sums
    run -0 small_make "$PWD/demo/$stage"
  done
  [ $landed -ge 10 ] || fail "only $landed kills fell while a stage was at work"
  run -0 small_demo
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}

@test "a failed stage leaves everything before it, and is all that runs when its cause is gone" {
  ln -sfn "$BATS_FILE_TMPDIR/tiny" good
  cp -r good/. tiny.own && rm tiny && mv tiny.own tiny
  cp tiny/unet/model.safetensors whole
  head -c 5000 whole > tiny/unet/model.safetensors
  run small_demo
  assert_failure
  assert_output --partial "unet/model.safetensors"
  for store in latent tokens prior; do run -0 me2-preprocess show demo/$store.zarr; done
  assert [ ! -e demo/recon.zarr ]
  cp whole tiny/unet/model.safetensors
  run -0 small_demo
  refute_output --partial "demo 4/9"
  assert_output --partial "demo 7/9"
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}

@test "missing files are named, all of them, before any work" {
  snakemake7
  for config in subj01_40sess subj01_1sess pretrain_7 evaluate_only new_subject; do
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" -j 1
    assert_failure
    files=$(grep -c '{path:' "$ROOT/pipelines/configs/$config.yaml")
    assert_output --partial "$files of $files files are missing"
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" -j 1 -f check_inputs
    assert_failure
    assert_equal "$(awk '/^MISSING/ { print $2 }' <<< "$output" | sort -u | wc -l)" "$files"
    PATH=${SNAKEMAKE%/*}:$PATH run -66 "$ROOT/pipelines/check_inputs.sh" "$ROOT/pipelines/configs/$config.yaml"
    assert_equal "$(grep -c '^MISSING' <<< "$output")" "$files"
    assert_equal "${lines[-1]}" "$files of $files files are missing"
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" --lint
    assert_success
  done
}

@test "a full disk ends with 74, and the pipeline goes on after space is made" {
  mkdir disk
  mount -t tmpfs -o size=1g tmpfs disk 2> /dev/null || skip "no right to mount a tmpfs"
  ln -s disk/demo demo
  mkdir disk/demo
  # Full among the first stores; then in a training.
  for room in 2000 24000; do
    head -c "$(($(df --output=avail -k disk | tail -n 1) - room))K" /dev/zero > disk/filler
    run small_demo
    rm disk/filler
    assert_failure
    assert_output --partial "Error 74"
    assert_output --partial "No space left on device"
  done
  assert [ -e demo/targets.zarr/zarr.json ]
  run -0 small_demo
  refute_output --partial "demo 2/9"
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}

teardown() {
  stop_slurm
  umount -l "$BATS_TEST_TMPDIR/w/disk" 2> /dev/null || true
}

# Memory and time asked of the cluster are the dry run's, not the profile's defaults.
assert_resources_asked() {
  local job
  job=$(scontrol -o show job | grep -oE 'mem=[0-9]+M' | sort -u | tr '\n' ' ')
  refute [ "$job" = "mem=2000M " ]
}
@test "SLURM through the profile, Snakemake 7: a real controller and node, the same bytes" {
  snakemake7
  start_slurm
  run timeout -k 5 3000 "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile tiny.yaml --config bin="$BUILD/bin" --profile "$ROOT/pipelines/profiles/slurm" --latency-wait 5
  assert_success
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
  assert_resources_asked
}
@test "SLURM through the profile, Snakemake 9: a real controller and node, the same bytes" {
  snakemake9
  start_slurm
  run timeout -k 5 3000 "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile tiny.yaml --config bin="$BUILD/bin" --profile "$ROOT/pipelines/profiles/slurm" --latency-wait 5 \
    --slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1
  assert_success
  assert_equal "$(demo_digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
  assert_resources_asked
}

@test "srun starts the processes of a training, which end with the losses of one; a killed task ends the others" {
  start_slurm
  me2-test-world make w a:30:1 b:25:2
  training=(--subjects w/a.zarr --subjects w/b.zarr --hidden 16 --blocks 1 --prior-depth 1 --max-lr 1e-3 --batch-size 20 --no-lowlevel -q)
  me2-embed train w/targets.zarr one "${training[@]}" --epochs 4
  srun -n2 me2-embed train w/targets.zarr two "${training[@]}" --epochs 4
  python3 - << 'P'
import json
one, two = (json.load(open(f'{name}/config.json'))['last']['loss'] for name in ('one', 'two'))
assert abs(one - two) <= 1e-3 * abs(one), (one, two)
P
  srun -n2 bash -c 'echo $$ > task.$SLURM_PROCID; exec me2-embed train w/targets.zarr long --subjects w/a.zarr --subjects w/b.zarr --hidden 16 --blocks 1 --prior-depth 1 --max-lr 1e-3 \
    --batch-size 20 --no-lowlevel -q --epochs 100000 --checkpoint-steps 2' 2> log &
  job=$!
  until [ -e long.partial/resume.safetensors ]; do kill -0 $job; sleep 0.05; done
  kill -9 "$(cat task.1)"
  SECONDS=0
  status=0
  wait $job || status=$?
  [ $status != 0 ]
  [ $SECONDS -lt 30 ] || fail "the other task went on for $SECONDS s"
  assert [ -e long.partial/resume.safetensors ]
}
