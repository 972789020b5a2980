# bats file_tags=tool:all
# The whole chain through all seven tools by the front door's own rules, at the smallest sizes that run. What is tested is the plumbing,
# not the quality. The demo is made once; each case has a copy.
setup_file() {
  load ../support/load
  load ../support/small_demo
  cd "$BATS_FILE_TMPDIR" || return 1
  small_demo > log || { tail log >&2; return 1; }
}
setup() { load ../support/load; load ../support/small_demo; setup_case; }
made_demo() { cp -a "$BATS_FILE_TMPDIR"/{demo,tiny} .; }

@test "demo: betas to report through all seven tools, and a second call does nothing" {
  made_demo
  run cat "$BATS_FILE_TMPDIR/log"
  assert_output --partial "demo 9/9"
  assert_line --regexp '^score +one_session +refined +lowlevel +blended +scratch +sessions +ridge +shuffled +mean +true'
  assert_line --regexp '^image_retrieval +[01]\.[0-9]{3} \([^)]*\)( +-){3}( +[01]\.[0-9]{3} \([^)]*\)){5} +-'  # none for pictures and the images' own tokens
  assert_line --regexp '^pixcorr( +-?[01]\.[0-9]{3} \([^)]*\)){10}'
  assert_line --regexp '^recon_category .* at least .30, chance .07: the last picture, refined +(not )?met$'
  for stage in pretrained finetuned scratch/model true/recon.zarr; do run -0 grep -E "[0-9.]*[1-9][0-9.]* s processor  .*demo/$stage\$" demo/times.txt; done
  # Another image's brain is another latent; the mean brain is the same for every image.
  run ! me2-test-store same -q demo/latent.zarr demo/shuffled/latent.zarr --array latent
  run ! me2-test-store same -q demo/shuffled/latent.zarr demo/mean/latent.zarr --array latent
  assert [ -s demo/report.html ]
  for store in latent tokens prior recon caption lowlevel blended refined mean/recon; do run -0 me2-preprocess show demo/$store.zarr; done
  run -0 small_demo
  refute_output --partial "demo 1/9"
  refute_output --partial "demo 9/9"

  # What is lost is made again, with what hangs on it and nothing else, to the same content.
  first=$(demo_digests demo)
  rm -rf demo/finetuned demo/prior.zarr
  run -0 small_demo
  refute_output --partial "demo 3/9"
  assert_output --partial "demo 4/9"
  assert_output --partial "demo 9/9"
  assert_equal "$(demo_digests demo)" "$first"
}

# What Make would do once FILE has changed: outputs of stages and of me2-eval, below demo/.
redone_after() { touch "$1"; small_make demo -n | grep -oE "(step.sh|--out|me2-eval report) $PWD/demo/[^ ]+" | sed "s:.* $PWD/demo/::" | sort -u | tr '\n' ' '; }
assert_redone() {  # FILE REDONE... -- NOT...
  local done_again wanted=yes item file=$1
  shift
  done_again=" $(redone_after "$file")"
  for item in "$@"; do
    case $item in
      --) wanted= ;;
      *) if [ -n "$wanted" ]; then [[ $done_again == *" $item "* ]] || fail "$file: $item is not made again, only$done_again"
         else [[ $done_again != *" $item "* ]] || fail "$file: $item is made again:$done_again"; fi ;;
    esac
  done
}
@test "help: every target that is meant to be called, and nothing else" {
  run -0 make -s -C "$ROOT" -f Makefile.pipeline help
  assert_line "    make -f Makefile.pipeline demo        the main job on simulated subjects: betas in; pictures, captions and scores out"
  declared=$(cd "$ROOT" && sed -n 's/^\.PHONY: //p' Makefile.pipeline pipelines/demo.mk pipelines/tiny.mk | tr ' ' '\n' | grep -vE '^(help|demo_stages|demo_anew)$' | sort -u)
  assert_equal "$(sed -nE 's/^ *make -f Makefile.pipeline ([a-z-]+).*/\1/p' <<< "$output" | sort)" "$declared"
  assert_equal "$(grep -c . <<< "$output")" "$(($(wc -l <<< "$declared") + 2))"  # beside them what it is, and the variables
}

@test "demo: a changed input redoes what depends on it and nothing else" {
  made_demo
  assert_redone tiny/scorer/model.safetensors scores.json report.html -- recon.zarr caption.zarr refined.zarr latent.zarr
  assert_redone tiny/refiner/model.safetensors refined.zarr report.html -- recon.zarr caption.zarr prior.zarr
  assert_redone demo/caption.zarr/zarr.json refined.zarr captions.json report.html -- recon.zarr prior.zarr
  assert_redone tiny/git/model.safetensors caption.zarr refined.zarr captions.json -- prior.zarr latent.zarr
  assert_redone demo/finetuned/model.safetensors latent.zarr tokens.zarr prior.zarr retrieval.json report.html -- pretrained targets.zarr
  assert_redone tiny/vae/model.safetensors recon.zarr refined.zarr scores.json
  assert_redone tiny/encoder/model.safetensors targets.zarr pretrained finetuned latent.zarr report.html -- simulated

  # The betas of the subject asked for, of another one; a subject that is gone is made again with all the others.
  rm -rf demo tiny
  made_demo
  assert_redone demo/simulated/subj01.zarr/zarr.json finetuned scratch/model sessions/model ridge/model latent.zarr report.html -- simulated targets.zarr pretrained
  assert_redone demo/simulated/subj02.zarr/zarr.json pretrained finetuned report.html -- simulated targets.zarr
  rm -rf demo/simulated/subj02.zarr
  run -0 small_demo
  for stage in 1 2 3 4 9; do assert_output --partial "demo $stage/9"; done
  assert_equal "$(demo_digests demo)" "$(demo_digests "$BATS_FILE_TMPDIR/demo")"
  run -0 small_demo
  refute_output --regexp 'demo [1-9]/9'
}

@test "demo: weights that are missing are named, all of them, before any work" {
  mkdir -p few/encoder few/git; touch few/encoder/model.safetensors few/git/model.safetensors
  run -2 make -C "$ROOT" -f Makefile.pipeline demo BUILD="$BUILD" TINY="$PWD/few" DEMO="$PWD/demo"
  for part in unet vae scorer refiner; do assert_output --partial "$PWD/few/$part/model.safetensors"; done
  refute_output --partial "few/encoder"
  assert [ ! -e demo ]
}

# The stage is at work when its unfinished output is there; what is killed is Make and everything it started.
kill_while_made() {  # OUTPUT
  local job
  set -m
  small_demo > log 2>&1 3>&- &
  job=$!
  set +m
  until [ -e "demo/$1.partial" ]; do kill -0 $job || fail "$(tail log)"; sleep 0.02; done
  kill -9 -- -$job 2> /dev/null || true
  wait $job || true
}
@test "demo: killed in two of its stages it goes on, to the same content" {
  made_demo
  rm -rf demo/finetuned
  kill_while_made finetuned
  run -0 small_make "$PWD/demo/tokens.zarr/zarr.json"
  kill_while_made prior.zarr
  run -0 small_demo
  refute_output --partial "demo 5/9"
  assert_equal "$(demo_digests demo)" "$(demo_digests "$BATS_FILE_TMPDIR/demo")"
}

@test "two pipelines in one folder: the second says so" {
  # A first pipeline that waits for a word from us while it makes the store.
  mkfifo go
  "$ROOT/pipelines/step.sh" stage.zarr bash -c 'touch begun; read -r _ < go' 3>&- &
  until [ -e begun ]; do sleep 0.05; done
  run -75 "$ROOT/pipelines/step.sh" stage.zarr true
  assert_output --partial "another pipeline is making it in this folder"
  echo > go
  wait
  run -0 "$ROOT/pipelines/step.sh" stage.zarr true
}

@test "step.sh: goes on, begins anew when the options are others, replaces what is out of date, passes other failures on" {
  mkdir out.partial
  run -0 "$ROOT/pipelines/step.sh" out echo
  assert_output -- "--resume"
  run -0 "$ROOT/pipelines/step.sh" out bash -c '[ "$1" != --resume ] || exit 73; ls -d out.partial 2> /dev/null || echo anew' bash
  assert_output anew
  mkdir -p out.partial
  run -74 "$ROOT/pipelines/step.sh" out bash -c 'exit 74'
  assert [ -d out.partial ]
  rm -r out.partial
  mkdir out
  run -0 "$ROOT/pipelines/step.sh" out echo
  assert_output -- "--overwrite"
}

@test "step.sh: what a stage of the demo says begins with its output, down to what it says when it is stopped" {
  mkdir scratch
  export ME2_TIMES=$PWD/times.txt
  run -7 --separate-stderr "$ROOT/pipelines/step.sh" "$PWD/scratch/model" bash -c 'echo product; echo "half: 2/4" >&2; printf "no newline" >&2; exit 7'
  assert_equal "$output" product
  assert_equal "$stderr" "scratch/model: half: 2/4
scratch/model: no newline"
  "$ROOT/pipelines/step.sh" "$PWD/scratch/model" bash -c 'trap "echo saved >&2; exit 75" TERM; touch begun; until [ -e never ]; do sleep 0.05; done' 2> log 3>&- &
  until [ -e begun ]; do sleep 0.05; done
  kill -TERM $!
  status=0
  wait $! || status=$?
  assert_equal "$status" 75
  assert_equal "$(cat log)" "scratch/model: saved"
  assert [ ! -e times.txt ]
}

@test "demo: a table whose making was killed is not taken for made" {
  made_demo
  rm demo/retrieval.csv
  mkdir bin
  printf '#!/bin/sh\necho half a table\nkill -9 0\n' > bin/me2-eval  # itself, its shell and make
  chmod +x bin/me2-eval
  set -m
  small_make "$PWD/demo/retrieval.csv" BIN="$PWD/bin" > log &
  set +m
  status=0
  wait $! || status=$?
  assert_equal "$status" 137
  assert [ ! -e demo/retrieval.csv ]
  run -0 small_make "$PWD/demo/retrieval.csv"
  assert [ -s demo/retrieval.csv ]
}

@test "table.sh: one column a way, one row a score, each with its interval" {
  mkdir -p d/scratch
  printf 'score,value,low,high,n,split\npixcorr,0.5,0.41,0.59,10,\npixcorr,0.9,0.8,1,5,easy\nssim,0.25,,,10,\n' > d/scores.csv
  printf 'score,value,low,high,n,split\npixcorr,0.125,0.1,0.2,10,\n' > d/scratch/scores.csv
  printf 'score,value,low,high,n,split\ncider,1.5,1,2,10,\n' > d/captions.csv
  run -0 "$ROOT/pipelines/table.sh" d scratch
  assert_equal "$(sed 's/ *$//' <<< "$output")" "score                one_session         scratch
pixcorr              0.500 (0.41-0.59)   0.125 (0.10-0.20)
ssim                 0.250               -
cider                1.500 (1.00-2.00)   -"
}

@test "estimates.py: memory and minutes from a tool's plan, the configuration's where it says so, more by attempt" {
  printf '#!/bin/sh\necho "{\\"memory_bytes\\": 1000000000, \\"seconds\\": 600, \\"said\\": \\"$*\\"}"\n' > me2-fake
  printf '#!/bin/sh\necho "me2-bad: error: no such file" >&2; exit 66\n' > me2-bad
  chmod +x me2-fake me2-bad
  run -0 --separate-stderr python3 -B -c "
import sys; sys.path.insert(0, '$ROOT/pipelines')
from estimates import *
plan = dry_run('me2-fake verb \"two words\" OUT', '$PWD')
print(plan['said'])
print(memory_mb(plan, None, 1), memory_mb(plan, None, 3), memory_mb(plan, 500, 1), memory_mb({}, None, 1))
print(runtime_minutes(plan, None, 1), runtime_minutes(plan, None, 2), runtime_minutes(plan, 7, 1), runtime_minutes({}, None, 1))
print(dry_run('me2-bad verb', '$PWD'))"
  assert_output "verb two words OUT --dry-run --json -q
1400 2800 500 2000
35 70 7 60
{}"
  assert_equal "$stderr" "no estimate of ['me2-bad', 'verb']: me2-bad: error: no such file"
}

@test "check_inputs.sh: no configuration, one that is not there, no snakemake: each is one line that says what to do" {
  check=$ROOT/pipelines/check_inputs.sh
  run -64 "$check"
  assert_output --regexp '^check-inputs: CONFIG=FILE .*configs/subj01_1sess.yaml'
  run -66 "$check" nowhere.yaml
  assert_output "check-inputs: nowhere.yaml: no such file"
  mkdir bin
  ln -s "$(command -v bash)" "$(command -v dirname)" "$(command -v env)" bin/
  PATH=$PWD/bin run -69 "$check" "$ROOT/pipelines/configs/subj01_1sess.yaml"
  assert_output --partial "apt-get install snakemake"
}

@test "new_subject.sh: with a pretrained model each fold fine-tunes it, the pictures are its prior's, and a second call does nothing" {
  made_demo
  for array in betas stimulus; do me2-preprocess show demo/simulated/subj01.zarr --array $array --npy $array.npy -q > /dev/null; done
  me2-preprocess show demo/simulated/stimuli.zarr --array image --npy image.npy -q > /dev/null
  mkdir images
  python3 - << 'P'
import ast, struct, zlib
def npy(path):
    data = open(path, 'rb').read()
    end = 10 + struct.unpack('<H', data[8:10])[0]
    return ast.literal_eval(data[10:end].decode())['shape'], data[end:]
chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
(n, _, height, width), pixels = npy('image.npy')
(trials,), ids = npy('stimulus.npy')
ids = struct.unpack(f'<{trials}i', ids)
for i in set(ids):
    planes = [pixels[(3 * i + c) * height * width:(3 * i + c + 1) * height * width] for c in range(3)]
    rows = b''.join(b'\0' + bytes(v for x in range(width) for v in (planes[0][y * width + x], planes[1][y * width + x], planes[2][y * width + x])) for y in range(height))
    open(f'images/{i:04}.png', 'wb').write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
open('events.tsv', 'w').write('stim_file\n' + ''.join(f'{i:04}.png\n' for i in ids))
P
  cat > config << 'C'
out=own models=tiny images=images side=64 bold=() events=() pretrained=demo/pretrained
import=(--betas betas.npy --events events.tsv) train=(--epochs 1 --batch-size 12) prior=(--steps 2)
splits=(share:0.3) ways=4 chance=0.25 title="One subject."
C
  run -0 "$ROOT/pipelines/new_subject.sh" config
  assert_line --regexp '^\| me2-embed train --pretrained, me2-eval retrieval \| [01]\.[0-9]{3} \|'
  assert [ -s own/report.html ]
  assert [ ! -e own/fold1/ridge ]
  assert_equal "$(jq -r '.me2.models[].path' own/fold1/finetuned/config.json)" demo/pretrained
  assert_equal "$(jq .hidden_dim own/fold1/finetuned/config.json)" "$(jq .hidden_dim demo/pretrained/config.json)"
  run -0 me2-preprocess show own/fold1/tokens.zarr
  assert_output --partial '"tool":"me2-prior"'
  made=$(find own -path '*/fold1/*' -type f -printf '%p %T@\n' | sort)
  run -0 "$ROOT/pipelines/new_subject.sh" config
  assert_equal "$(find own -path '*/fold1/*' -type f -printf '%p %T@\n' | sort)" "$made"

  # What was interrupted goes on: half of the pictures are there.
  mv own/fold1/recon.zarr first.zarr
  me2-decode unclip own/fold1/tokens.zarr own/fold1/recon.zarr --model tiny/unet --vae tiny/vae --shard 1/2 -q
  assert [ -d own/fold1/recon.zarr.partial ]
  run -0 "$ROOT/pipelines/new_subject.sh" config
  assert_same_content own/fold1/recon.zarr first.zarr

  sed -i 's,pretrained=.*,pretrained=nowhere,; s/out=own/out=other/' config
  run -66 "$ROOT/pipelines/new_subject.sh" config
  assert_output "new_subject: nowhere is missing"
  sed -i 's,models=tiny,models=none,; s,bold=(),bold=(run1.nii.gz),' config  # all are named, before any work
  run -66 "$ROOT/pipelines/new_subject.sh" config
  assert_equal "$(sort <<< "$output")" "$(printf 'new_subject: %s is missing\n' none/{encoder,unet,vae,git}/model.safetensors nowhere run1.nii.gz | sort)"
  assert [ ! -e other ]
}
