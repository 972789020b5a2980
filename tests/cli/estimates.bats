# bats file_tags=tool:all
# What --dry-run says of memory and time: it is there for every verb that works, grows with what is asked, and the memory is what is used.
setup() {
  load ../support/load; setup_case
  M=$ROOT/pipelines/tiny/models
  me2-preprocess simulate s --subjects 1 --sessions 1 --trials-per-session 24 --test-images 6 --validation-images 0 -q > /dev/null
  me2-embed images s/stimuli.zarr targets.zarr --model "$M/encoder" -q
}
plan() { "$@" --dry-run --json -q | jq -r '"\(.memory_bytes) \(.seconds)"'; }
assert_planned() {  # COMMAND...: names memory beyond the program's, and a time
  local memory seconds
  read -r memory seconds <<< "$(plan "$@")"
  [ "$memory" -gt 20000000 ] || fail "$*: memory $memory"
  python3 -c "import sys; sys.exit(not 0 < $seconds < 1e6)" || fail "$*: seconds $seconds"
}
assert_more() {  # WHAT FEW MANY, each words of a command: both grow (memory), or the one that is named
  local a b
  read -r -a a <<< "$(plan $2)"
  read -r -a b <<< "$(plan $3)"
  [ "$1" = seconds ] || [ "${b[0]}" -gt "${a[0]}" ] || fail "memory: ${a[0]} of $2, ${b[0]} of $3"
  [ "$1" = memory ] || python3 -c "import sys; sys.exit(not ${b[1]} > ${a[1]})" || fail "seconds: ${a[1]} of $2, ${b[1]} of $3"
}

@test "estimates: every stage names memory and time" {
  me2-align fit s/subj01.zarr ridge --to tokens --from-tokens targets.zarr -q
  me2-align apply s/subj01.zarr prior.zarr --model ridge --split test -q
  me2-decode unclip prior.zarr recon.zarr --model "$M/unet" --vae "$M/vae" --steps 2 -q
  me2-caption generate prior.zarr caption.zarr --model "$M/git" -q
  me2-embed train targets.zarr model --subjects s/subj01.zarr --hidden 16 --blocks 1 --prior-depth 1 --epochs 1 --batch-size 8 --no-lowlevel -q
  me2-align apply s/subj01.zarr latent.zarr --model model -q
  me2-embed brain latent.zarr tokens.zarr --model model -q
  assert_planned me2-preprocess simulate other
  assert_planned me2-preprocess stimuli "$(golden images)" other.zarr --size 64
  assert_planned me2-align fit s/subj01.zarr other --to tokens --from-tokens targets.zarr
  assert_planned me2-align apply s/subj01.zarr other.zarr --model model
  assert_planned me2-embed brain latent.zarr other.zarr --model model
  assert_planned me2-embed images s/stimuli.zarr other.zarr --model "$M/encoder"
  assert_planned me2-embed encoder s/stimuli.zarr other --config "$ROOT/pipelines/tiny/encoder.json"
  assert_planned me2-embed train targets.zarr other --subjects s/subj01.zarr --hidden 16 --no-lowlevel --batch-size 8
  assert_planned me2-prior sample tokens.zarr other.zarr --model model
  assert_planned me2-prior train tokens.zarr targets.zarr other
  assert_planned me2-decode unclip prior.zarr other.zarr --model "$M/unet" --vae "$M/vae"
  assert_planned me2-decode refine recon.zarr caption.zarr other.zarr --model "$M/refiner" --vae "$M/vae" --size 64 --timepoint 8
  assert_planned me2-decode blend recon.zarr recon.zarr other.zarr
  assert_planned me2-decode train s/stimuli.zarr other --part vae --model "$M/vae"
  assert_planned me2-decode train s/stimuli.zarr other --tokens targets.zarr --model "$M/unet" --vae "$M/vae"
  assert_planned me2-decode train s/stimuli.zarr other --part refiner --model "$M/refiner" --vae "$M/vae"
  assert_planned me2-caption generate prior.zarr other.zarr --model "$M/git"
  assert_planned me2-caption train targets.zarr s/stimuli.zarr other --part git
  assert_planned me2-eval score recon.zarr --truth s/stimuli.zarr --metrics pixcorr,ssim --allow-missing
  assert_planned me2-eval score --captions caption.zarr --references s/stimuli.zarr --allow-missing
  assert_planned me2-eval retrieval tokens.zarr --truth targets.zarr --truth-array clip_tokens --allow-missing
  assert [ ! -e other ]
  assert [ ! -e other.zarr ]

  assert_more both "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --size 64" "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --size 128"
  assert_more seconds "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --steps 5" "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --steps 10"
  assert_more seconds "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --threads 4" "me2-decode unclip prior.zarr o --model $M/unet --vae $M/vae --threads 1"
  assert_more memory "me2-embed images s/stimuli.zarr o --model $M/encoder --batch-size 4" "me2-embed images s/stimuli.zarr o --model $M/encoder --batch-size 64"
  assert_more both "me2-embed train targets.zarr o --subjects s/subj01.zarr --no-lowlevel --batch-size 8 --hidden 16" "me2-embed train targets.zarr o --subjects s/subj01.zarr --no-lowlevel --batch-size 8 --hidden 512"
  assert_more seconds "me2-prior sample tokens.zarr o --model model --steps 5" "me2-prior sample tokens.zarr o --model model --steps 50"
  assert_more seconds "me2-caption generate prior.zarr o --model $M/git --max-length 8" "me2-caption generate prior.zarr o --model $M/git --max-length 16"
}

@test "estimates: a thread for each minute that one would take, as many as there may be at most" {
  threads() { "$@" --dry-run --json -q | jq .threads; }
  training=(me2-embed train targets.zarr o --subjects s/subj01.zarr --no-lowlevel --batch-size 8 --hidden 16)
  assert_equal "$(threads "${training[@]}" --epochs 1 --threads 4)" 1
  seconds() { "$@" --dry-run --json -q --threads 1 | jq .seconds; }
  epochs=$(jq -n "150 * 100 / $(seconds "${training[@]}" --epochs 100) | floor")  # two minutes and a half
  assert_equal "$(threads "${training[@]}" --epochs "$epochs" --threads 8)" 3
  assert_equal "$(threads "${training[@]}" --epochs "$epochs" --threads 2)" 2
  OMP_THREAD_LIMIT=1 run threads "${training[@]}" --epochs "$epochs" --threads 8
  assert_output 1
}

# Peak resident memory of a command, in bytes.
peak() { python3 -c 'import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)' "$@"; }
assert_near_peak() {  # COMMAND...: the plan's memory is within a factor of 2 of what is used
  local planned _
  read -r planned _ <<< "$(plan "$@")"
  python3 -c "import sys; sys.exit(not .5 <= $planned / $(peak "$@" -q) <= 2)" || fail "$*: $planned planned"
}
@test "estimates: memory is within a factor of two of the peak, where networks take most of it" {
  me2-align fit s/subj01.zarr ridge --to tokens --from-tokens targets.zarr -q
  me2-align apply s/subj01.zarr prior.zarr --model ridge --split test -q
  assert_near_peak me2-embed images s/stimuli.zarr a.zarr --model "$M/encoder" --batch-size 30
  assert_near_peak me2-decode unclip prior.zarr b.zarr --model "$M/unet" --vae "$M/vae" --steps 2 --size 512 --batch-size 6
  assert_near_peak me2-embed train targets.zarr c --subjects s/subj01.zarr --hidden 1500 --no-lowlevel --batch-size 8 --epochs 1
  assert_near_peak me2-decode train s/stimuli.zarr d --part vae --model "$M/vae" --steps 2 --batch-size 24
}

# What the run would end with, the dry run ends with: the same status, the same line.
assert_refused_alike() {  # STATUS COMMAND...
  local status_wanted=$1 line
  shift
  run "-$status_wanted" --separate-stderr "$@" -q --dry-run
  line=$stderr
  assert_equal "$output" ""
  run "-$status_wanted" --separate-stderr "$@" -q
  assert_equal "$line" "$stderr"
}
@test "dry runs: what is missing or of another stage is refused as the run refuses it" {
  me2-align fit s/subj01.zarr ridge --to tokens --from-tokens targets.zarr -q
  me2-align apply s/subj01.zarr prior.zarr --model ridge --split test -q
  me2-embed train targets.zarr model --subjects s/subj01.zarr --hidden 16 --blocks 1 --prior-depth 1 --epochs 1 --batch-size 8 --no-lowlevel -q
  me2-align apply s/subj01.zarr latent.zarr --model model -q
  me2-embed brain latent.zarr tokens.zarr --model model -q
  echo "name,value" > table.csv
  assert_refused_alike 64 me2-align fit s/subj01.zarr other
  assert_refused_alike 64 me2-align fit s/subj01.zarr other --to tokens
  assert_refused_alike 65 me2-align fit s/subj01.zarr other --to tokens --from-tokens s/stimuli.zarr
  assert_refused_alike 64 me2-embed images s/stimuli.zarr other.zarr
  assert_refused_alike 65 me2-embed brain tokens.zarr other.zarr --model model
  assert_refused_alike 65 me2-embed train s/stimuli.zarr other --subjects s/subj01.zarr
  assert_refused_alike 65 me2-prior sample prior.zarr other.zarr --model model
  assert_refused_alike 65 me2-prior train tokens.zarr s/stimuli.zarr other
  assert_refused_alike 65 me2-decode unclip tokens.zarr other.zarr --model "$M/unet" --vae "$M/vae"
  assert_refused_alike 65 me2-decode blend s/stimuli.zarr prior.zarr other.zarr
  assert_refused_alike 66 me2-caption generate prior.zarr other.zarr --model nowhere
  assert_refused_alike 65 me2-eval score s/stimuli.zarr --truth tokens.zarr
  assert_refused_alike 65 me2-eval compare table.csv table.csv
  assert [ ! -e other ]
  assert [ ! -e other.zarr ]
}
