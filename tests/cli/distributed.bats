# bats file_tags=tool:embed
# me2-embed train on several processes: the three ways of starting them, a process that is killed, and what the files are worth afterwards.
# The numbers of one process are the expected ones; that gradients agree to 1e-5 is in tests/unit/train/distributed_test.cpp.
setup() {
  load ../support/load; setup_case
  me2-test-world make w a:30:1 b:25:2
  TINY=(--subjects w/a.zarr --subjects w/b.zarr --hidden 16 --blocks 1 --prior-depth 1 --max-lr 1e-3 --batch-size 20 --no-lowlevel -q)
}
teardown() { [ -z "$others" ] || kill -9 $others 2> /dev/null || true; }
last_loss() { python3 -c "import json; print(json.load(open('$1/config.json'))['last']['loss'])"; }
assert_same_loss() { python3 -c "import sys; a, b = $(last_loss "$1"), $(last_loss "$2"); sys.exit(abs(a - b) > 1e-3 * abs(a))" || fail "$(last_loss "$1") and $(last_loss "$2")"; }

@test "--nproc 2 ends with the losses of one process, and prints and writes once" {
  me2-embed train w/targets.zarr one "${TINY[@]}" --epochs 4
  run -0 --separate-stderr me2-embed train w/targets.zarr two "${TINY[@]}" --epochs 4 --nproc 2 --json
  assert_equal "${#lines[@]}" 1
  assert_same_loss one two
  assert_equal "$(ls two | sort | tr '\n' ' ')" "config.json curves.csv curves.svg model.safetensors "
  me2-embed train w/targets.zarr two "${TINY[@]}" --epochs 4 --nproc 2 --resume
}
@test "tasks of an srun step find each other by its variables" {
  me2-embed train w/targets.zarr one "${TINY[@]}" --epochs 2
  export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=1 SLURM_JOB_ID=77 SLURM_STEP_ID=0 MASTER_PORT=$(free_port)
  SLURM_PROCID=1 SLURM_LOCALID=1 me2-embed train w/targets.zarr two "${TINY[@]}" --epochs 2 & others=$!
  SLURM_PROCID=0 SLURM_LOCALID=0 me2-embed train w/targets.zarr two "${TINY[@]}" --epochs 2
  wait $others
  assert_same_loss one two
}
@test "torchrun --no-python starts the processes" {
  python=${ME2_PYTHON:-python3}
  $python -c 'import torch.distributed.run' 2> /dev/null || skip "no Python with torch here (ME2_PYTHON names one)"
  me2-embed train w/targets.zarr one "${TINY[@]}" --epochs 2
  $python -m torch.distributed.run --nnodes=1 --nproc-per-node=2 --master-addr 127.0.0.1 --master-port "$(free_port)" --no-python \
    "$(command -v me2-embed)" train w/targets.zarr two "${TINY[@]}" --epochs 2
  assert_same_loss one two
}
@test "a killed process ends the others within 30 s; the checkpoint is good on one process and on three" {
  for victim in 0 1; do
    others=; touch stamp; port=$(free_port)
    for rank in 0 1; do
      RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
        me2-embed train w/targets.zarr parts "${TINY[@]}" --epochs 100 --checkpoint-steps 2 --resume 2> log.$rank & others="$others $!"
    done
    until [ parts.partial/resume.safetensors -nt stamp ]; do kill -0 $others; sleep .05; done
    pids=($others); kill -9 "${pids[$victim]}"
    SECONDS=0; status=0; wait "${pids[$((1 - victim))]}" || status=$?
    assert_equal "$status" 75
    [ $SECONDS -lt 30 ]
    assert_equal "$(grep -c ': error: ' log.$((1 - victim)))" 1
  done
  others=
  cp -r parts.partial three.partial
  me2-embed train w/targets.zarr parts "${TINY[@]}" --epochs 100 --checkpoint-steps 2 --resume
  me2-embed train w/targets.zarr three "${TINY[@]}" --epochs 100 --checkpoint-steps 2 --resume --nproc 3
  assert_same_loss parts three
  [ ! -e parts.partial ] && [ ! -e three.partial ]
}
@test "--nproc: SIGTERM stops all with a checkpoint, and a killed process is named" {
  me2-embed train w/targets.zarr m "${TINY[@]}" --epochs 200 --checkpoint-steps 2 --nproc 2 2> log & pid=$!; others=$pid
  while [ ! -e m.partial/resume.safetensors ]; do kill -0 $pid; sleep .05; done
  kill -TERM $pid; status=0; wait $pid || status=$?; assert_equal "$status" 75
  assert_equal "$(grep -c ': error: ' log)" 1
  [ -e m.partial/last/model.safetensors ]
  me2-embed train w/targets.zarr m "${TINY[@]}" --epochs 200 --checkpoint-steps 2 --nproc 2 --resume 2> log & pid=$!; others=$pid
  touch stamp; until [ m.partial/resume.safetensors -nt stamp ]; do kill -0 $pid; sleep .05; done
  kill -9 "$(pgrep -P $pid | head -1)"
  SECONDS=0; status=0; wait $pid || status=$?; assert_equal "$status" 75; [ $SECONDS -lt 30 ]
  assert_regex "$(tail -1 log)" 'process [01] of 2 was ended by signal 9'
}
@test "--nproc: bad input is one line; a batch too small to share; another launcher" {
  run -65 --separate-stderr me2-embed train w/targets.zarr m "${TINY[@]}" --sessions 9 --nproc 2; assert_one_line_of_error; assert_regex "$stderr" 'has 2 sessions'
  run -64 --separate-stderr me2-embed train w/targets.zarr m "${TINY[@]/#20/4}" --nproc 3
  assert_one_line_of_error; assert_regex "$stderr" '2 samples of a subject.*3 processes'
  run -64 --separate-stderr me2-embed train w/targets.zarr m "${TINY[@]}" --nproc 0; assert_one_line_of_error
  RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1 run -64 --separate-stderr me2-embed train w/targets.zarr m "${TINY[@]}" --nproc 2
  assert_one_line_of_error; assert_regex "$stderr" 'already one of 2 processes'
  [ ! -e m ] && [ ! -e m.partial ]
}
