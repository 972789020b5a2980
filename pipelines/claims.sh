#!/usr/bin/env bash
# Do the method's claims hold on simulated subjects? Trains small models with the tools and prints a Markdown table; also OUT/claims.md.
#     pipelines/claims.sh [--quick] BUILD OUT
# 1  The image seen is found among all test images far above chance.
# 2  Pretraining on the other subjects, then one session of a new one, beats one session from scratch.
# 3  A ridge for each subject beats a two-layer map (--mlp-map).
# 4  Contrastive loss with the prior's beats the prior's alone; compared on what the prior draws. Not with --quick.
# Every figure is image retrieval on the first subject's test images (three showings averaged), with me2-eval's bootstrap interval over images.
# Ends with 1 when a claim checked here (all; --quick: 1 and 2) does not hold, comparing the figures themselves; the intervals say how sure that is.
# What is there in OUT is kept: a call that was interrupted goes on.
set -euo pipefail
quick='' no_map=''
if [ "${1:-}" = --quick ]; then quick=yes; shift; fi
[ $# = 2 ] || { sed -n '3p' "$0" | cut -c3- >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1")/bin out=$2
export PATH=$bin:$PATH ME2_FSYNC=${ME2_FSYNC:-off}
threads=(--threads "${THREADS:-1}")
seed=${SEED:-1}
if [ -n "$quick" ]; then
  subjects=4 scenes=1500 encoder_steps=60 trials=250 test_images=100 hidden=128 pre_epochs=40 sessions=8 epochs=30 prior_epochs=0
else
  subjects=8 scenes=6000 encoder_steps=300 trials=375 test_images=300 hidden=192 pre_epochs=30 sessions=6 epochs=40 prior_epochs=${PRIOR_EPOCHS:-60}
fi
mkdir -p "$out"; cd "$out"

[ -e scenes ] || me2-preprocess simulate scenes --scenes-only $scenes --seed "$seed" -q > /dev/null
[ -e subjects ] || me2-preprocess simulate subjects --subjects $subjects --sessions $sessions --trials-per-session $trials --test-images $test_images --validation-images 20 \
  --voxel-scale 0.5 --seed "$seed" -q > /dev/null
[ -e encoder ] || me2-embed encoder scenes/stimuli.zarr encoder --config "$here/tiny/encoder.json" --steps $encoder_steps --seed "$seed" "${threads[@]}" -q > /dev/null
[ -e targets.zarr ] || me2-embed images subjects/stimuli.zarr targets.zarr --model encoder "${threads[@]}" -q > /dev/null

train() {  # NAME OPTIONS...: a model of that name
  local name=$1
  shift
  [ -e "$name" ] || me2-embed train targets.zarr "$name" --hidden $hidden --prior-depth 2 --prior-dim-head 16 --no-lowlevel --corrected-mixco \
    --evaluate-interval 0 --seed "$seed" "${threads[@]}" -q "$@"
}
score() {  # NAME {clip|prior}: its retrieval, "value,low,high"
  local name=$1 brain=$1.$2.zarr
  [ -e "$name.latent.zarr" ] || me2-align apply subjects/subj01.zarr "$name.latent.zarr" --model "$name" --split test "${threads[@]}" -q
  if [ "$2" = clip ]; then
    [ -e "$brain" ] || me2-embed brain "$name.latent.zarr" "$brain" --only clip --model "$name" "${threads[@]}" -q
  elif [ ! -e "$brain" ]; then
    [ -e "$name.tokens.zarr" ] || me2-embed brain "$name.latent.zarr" "$name.tokens.zarr" --model "$name" "${threads[@]}" -q
    me2-prior sample "$name.tokens.zarr" "$brain" --model "$name" --seed "$seed" "${threads[@]}" -q
  fi
  me2-eval retrieval "$brain" --truth targets.zarr --truth-array clip_tokens --ways $test_images --draws 1 --allow-missing --csv --out "$name.$2.json" -q "${threads[@]}" |
    awk -F, '$1 == "image_retrieval" { print $2 "," $3 "," $4 }'
}

status=0
declare -A value
row() {  # KEY WHAT NAME HEAD: measures and prints a row
  local scored low high
  scored=$(score "$3" "$4")
  IFS=, read -r value[$1] low high <<< "$scored"
  printf '| %s | %s | %.3f | %.3f to %.3f |\n' "$2" "$([ "$4" = clip ] && echo "retrieval head" || echo "prior")" "${value[$1]}" "$low" "$high"
}
claim() {  # TEXT A B FATAL: A is larger than B
  local holds=holds
  awk -v a="$2" -v b="$3" 'BEGIN { exit !(a > b) }' || { holds="does not show"; [ "$4" = no ] || status=1; }
  printf -- '- %s: %s (%.3f, %.3f)\n' "$1" "$holds" "$2" "$3"
}

others=()
for i in $(seq 2 $subjects); do others+=(--subjects "subjects/subj0$i.zarr"); done
one=(--subjects subjects/subj01.zarr --sessions 1)
batch=$((48 / (subjects - 1) * (subjects - 1)))  # as many of each subject
train pretrained --no-prior "${others[@]}" --batch-size $batch --samples-per-epoch $((trials * (subjects - 1))) --epochs $pre_epochs --max-lr 1e-3
one+=(--batch-size 48)
train scratch --no-prior "${one[@]}" --epochs $epochs --max-lr 1e-3
train scratch_fast --no-prior "${one[@]}" --epochs $epochs --max-lr 1e-2
train finetuned --no-prior "${one[@]}" --pretrained pretrained --epochs $epochs --max-lr 1e-3
# One small session moves the whole backbone away from what the others taught it: the ridge alone keeps it.
train ridge_only --no-prior "${one[@]}" --pretrained pretrained --ridge-only --epochs $epochs --max-lr 1e-2
if [ ! -e closed_form ]; then
  latents=()
  for i in $(seq 2 $subjects); do
    [ -e latent$i.zarr ] || me2-align apply subjects/subj0$i.zarr latent$i.zarr --model pretrained --split train "${threads[@]}" -q
    latents+=(--targets latent$i.zarr)
  done
  me2-align fit subjects/subj01.zarr closed_form --pretrained pretrained "${latents[@]}" --from-tokens targets.zarr --sessions 1 "${threads[@]}" -q
fi
if [ -z "$quick" ]; then
  train mlp --no-prior --mlp-map "${one[@]}" --epochs $epochs --max-lr 1e-3
  # A build without the map trains the ridge under that option: no comparison then.
  ! cmp -s mlp/model.safetensors scratch/model.safetensors || { echo "claims: this build has no --mlp-map" >&2; no_map=yes; }
fi
if ((prior_epochs)); then
  train both "${one[@]}" --epochs $prior_epochs --max-lr 1e-3
  # Not --no-clip: me2-embed brain takes the width of the tokens from the retrieval head, which that leaves out.
  train prior_alone --clip-scale 1e-9 "${one[@]}" --epochs $prior_epochs --max-lr 1e-3
fi

{
  echo "| trained on | by | top-1 of $test_images | 95 % interval |"
  echo "|---|---|---|---|"
  awk -v n=$test_images 'BEGIN { printf "| chance | | %.4f | |\n", 1 / n }'
  row scratch "1 session of $trials trials, from scratch" scratch clip
  row scratch_fast "the same, ten times the learning rate" scratch_fast clip
  row finetuned "the session after pretraining on $((subjects - 1)) subjects, everything trained" finetuned clip
  row ridge_only "after pretraining, the ridge alone trained" ridge_only clip
  row closed_form "after pretraining, the ridge in closed form (me2-align fit)" closed_form clip
  [ -n "$quick$no_map" ] || row mlp "the session from scratch, two-layer map for the ridge" mlp clip
  if ((prior_epochs)); then
    row both_clip "contrastive + prior, from scratch" both clip
    row both "contrastive + prior, from scratch" both prior
    row alone "prior alone, from scratch" prior_alone prior
  fi
  echo
  claim "retrieval from scratch is over ten times chance" "${value[scratch]}" "$(awk -v n=$test_images 'BEGIN { print 10 / n }')" yes
  claim "pretraining (ridge alone trained) beats scratch" "${value[ridge_only]}" "${value[scratch]}" yes
  claim "pretraining (ridge alone trained) beats scratch at its learning rate" "${value[ridge_only]}" "${value[scratch_fast]}" yes
  [ -n "$quick$no_map" ] || claim "ridge beats the two-layer map" "${value[scratch]}" "${value[mlp]}" yes
  if ((prior_epochs)); then claim "contrastive + prior beats the prior alone" "${value[both]}" "${value[alone]}" yes; fi
} > claims.md
cat claims.md
exit $status
