# bats file_tags=tool:all
# The shell pipeline of the README, to pictures: me2-align | me2-embed | me2-prior | me2-decode, on the models of me2-test-release.
setup() {
  load ../support/load; setup_case
  me2-test-release make m
  M=$PWD/m/train_logs/final_subj01_pretrained_1sess_24bs/last.pth
  UNCLIP=$PWD/m/unclip6_epoch0_step110000.ckpt
  me2-preprocess medarc "$(golden medarc_layout)" subj01.zarr --subject 1 -q > /dev/null
  export M UNCLIP
  ALIGN="me2-align apply -q subj01.zarr - --model $M --split test"
  EMBED="me2-embed brain -q - - --model $M"
  PRIOR="me2-prior sample -q - - --model $M --steps 4"
  DECODE="me2-decode unclip -q - recon.zarr --model $UNCLIP --size 64 --steps 2"
}
pipeline() { bash -o pipefail -c "$1 | $2 | $3 | $4"; }
assert_clean() { assert_equal "$(ls -A "$TMPDIR")" ""; assert [ ! -e recon.zarr ]; }

@test "pipe: betas to pictures through four tools gives the bytes of the stores one after the other, and leaves nothing behind" {
  run -0 --separate-stderr pipeline "$ALIGN" "$EMBED" "$PRIOR" "$DECODE"
  assert_equal "$stderr" ""
  assert_equal "$(ls -A "$TMPDIR")" ""
  me2-align apply -q subj01.zarr latent.zarr --model "$M" --split test
  me2-embed brain -q latent.zarr tokens.zarr --model "$M"
  me2-prior sample -q tokens.zarr prior.zarr --model "$M" --steps 4
  me2-decode unclip -q prior.zarr files.zarr --model "$UNCLIP" --size 64 --steps 2
  assert_same_content recon.zarr files.zarr
}

@test "pipe: where the first stage fails the whole fails, and nothing is left" {
  run -66 --separate-stderr pipeline "${ALIGN/subj01.zarr/missing.zarr}" "$EMBED" "$PRIOR" "$DECODE"
  [[ "$stderr" == *"missing.zarr"* ]]
  assert_clean
}

@test "pipe: where a stage in the middle fails the whole fails, and nothing is left" {
  run ! --separate-stderr pipeline "$ALIGN" "$EMBED" "${PRIOR/$M/$UNCLIP}" "$DECODE"
  [[ "$stderr" == *"me2-prior"*"error"* ]]
  assert_clean
}

@test "pipe: where the last stage fails the whole fails, and nothing is left" {
  run -65 --separate-stderr pipeline "$ALIGN" "$EMBED" "$PRIOR" "${DECODE/$UNCLIP/$M}"
  [[ "$stderr" == *"me2-decode"*"looks like a MindEye2 model"* ]]
  assert_clean
}

@test "pipe: without pipefail too the status is a failure, wherever it failed" {
  run -66 --separate-stderr bash -c "${ALIGN/subj01.zarr/missing.zarr} | $EMBED | $PRIOR | $DECODE"
  assert_clean
  run -66 --separate-stderr bash -c "$ALIGN | $EMBED | ${PRIOR/$M/nowhere} | $DECODE"
  [[ "$stderr" == *"me2-decode unclip"*"the command before failed"* ]]
  assert_clean
}

@test "pipe: a signal to the whole pipeline leaves nothing behind, whenever it comes" {
  for delay in 0 .05 .1 .2 .4 .8; do  # while stages start, wait for each other and work
    bash -o pipefail -c "$ALIGN | $EMBED | $PRIOR --draws 4000 | $DECODE" & pid=$!
    while kill -0 $pid 2> /dev/null && (($(pgrep -cP $pid) < 4)) && [ -z "$(ls -A "$TMPDIR")" ]; do sleep .01; done
    sleep $delay
    pkill -TERM -P $pid
    status=0; wait $pid || status=$?
    assert [ "$status" != 0 ]
    assert_clean
  done
}

@test "pipe: the writer stays until its path is read, and removes the store where the reader ends without reading it" {
  mkfifo pipe
  $ALIGN > pipe & writer=$!
  exec 7< pipe
  while kill -0 $writer && ! ls -d "$TMPDIR"/*/out.zarr &> /dev/null; do sleep .02; done
  sleep .3
  assert kill -0 $writer
  exec 7<&-
  status=0; wait $writer || status=$?
  assert_equal "$status" 141
  assert_equal "$(ls -A "$TMPDIR")" ""
}

@test "pipe: a reader that is stopped between the path and the end of its input removes the store" {
  path=$(me2-align apply -q subj01.zarr - --model "$M" --split test)
  assert [ -e "$path" ]
  mkfifo pipe
  me2-embed brain -q - out.zarr --model "$M" < pipe 2> embed.log & reader=$!
  exec 7> pipe
  echo "$path" >&7
  for _ in {1..200}; do  # until it is the tool and waits for SIGTERM (bit 14), which is then blocked
    blocked=$(sed -n 's/^SigBlk:\t/0x/p' /proc/$reader/status)
    [ "$(cat /proc/$reader/comm)" = me2-embed ] && ((blocked & 0x4000)) && break
    sleep .05
  done
  sleep .3
  kill -TERM $reader
  status=0; wait $reader || status=$?
  exec 7>&-
  assert_equal "$status" 75
  assert_equal "$(ls -A "$TMPDIR")" ""
  assert [ ! -e out.zarr ]
}
