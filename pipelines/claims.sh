#!/usr/bin/env bash
# Do the method's claims hold on simulated subjects? Trains small models with the tools and prints a Markdown table; also OUT/claims.md.
#     pipelines/claims.sh [--quick] BUILD OUT
# 1  The image seen is found among all test images far above chance.
# 2  Pretraining on the other subjects, then one session of a new one, beats one session from scratch.
# 3  A ridge for each subject beats an MLP map (--mlp-map): all sessions from scratch, as in the paper's ablation; beside it, each pretrained
#    with its own kind, then one session for the map alone.
# 4  Contrastive loss with the prior's beats the prior's alone: what the retrieval head finds against what the prior draws, and draws against
#    draws. Not with --quick.
# Every figure is image retrieval on the first subject's test images (three showings averaged), with me2-eval's bootstrap interval over images;
# a claim is a difference of two of them on the same images, with me2-eval compare's paired interval.
# Ends with 1 when 1 is below ten times chance, or 2, the mean of 3 or the first of 4 has the wrong sign. The rest is told and not demanded: on
# simulated subjects they go either way (docs/results.md).
# ENCODER=folder takes another image encoder than the shipped one; VOXEL_SCALE=4 eight times the voxels; SEED and THREADS are every command's.
# What is there in OUT is kept: a call that was interrupted goes on.
set -euo pipefail
quick=''
if [ "${1:-}" = --quick ]; then quick=yes; shift; fi
[ $# = 2 ] || { sed -n '3p' "$0" | cut -c3- >&2; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "$1")/bin out=$2
encoder=$(realpath "${ENCODER:-$here/tiny/models/encoder}")
export PATH=$bin:$PATH ME2_FSYNC=${ME2_FSYNC:-off}
threads=(--threads "${THREADS:-1}")
seed=${SEED:-1}
if [ -n "$quick" ]; then
  subjects=4 trials=250 test_images=100 hidden=128 pre_epochs=40 sessions=8 epochs=30 prior_epochs=0
else
  subjects=8 trials=375 test_images=300 hidden=192 pre_epochs=30 sessions=6 epochs=40 prior_epochs=${PRIOR_EPOCHS:-60}
fi
mkdir -p "$out"; cd "$out"

[ -e subjects ] || me2-preprocess simulate subjects --subjects $subjects --sessions $sessions --trials-per-session $trials --test-images $test_images --validation-images 20 \
  --voxel-scale "${VOXEL_SCALE:-0.5}" --seed "$seed" -q > /dev/null
[ -e targets.zarr ] || me2-embed images subjects/stimuli.zarr targets.zarr --model "$encoder" "${threads[@]}" -q > /dev/null

train() {  # NAME OPTIONS...: a model of that name
  local name=$1
  shift
  [ -e "$name" ] || me2-embed train targets.zarr "$name" --hidden $hidden --prior-depth 2 --prior-dim-head 16 --no-lowlevel --corrected-mixco \
    --evaluate-interval 0 --seed "$seed" --resume "${threads[@]}" -q "$@"
}

declare -A value
row() {  # KEY WHAT MODEL {clip|prior}: scores MODEL's retrieval head or what its prior draws, into KEY.csv (an image a line), and prints a row
  local key=$1 model=$3 brain=$3.$4.zarr low high
  [ -e "$model.latent.zarr" ] || me2-align apply subjects/subj01.zarr "$model.latent.zarr" --model "$model" --split test "${threads[@]}" -q
  if [ "$4" = clip ]; then
    [ -e "$brain" ] || me2-embed brain "$model.latent.zarr" "$brain" --only clip --model "$model" "${threads[@]}" -q
  elif [ ! -e "$brain" ]; then
    [ -e "$model.tokens.zarr" ] || me2-embed brain "$model.latent.zarr" "$model.tokens.zarr" --model "$model" "${threads[@]}" -q
    me2-prior sample "$model.tokens.zarr" "$brain" --model "$model" --seed "$seed" "${threads[@]}" -q
  fi
  me2-eval retrieval "$brain" --truth targets.zarr --truth-array clip_tokens --ways $test_images --draws 1 --allow-missing --csv --per-image "$key.csv" --overwrite \
    -q "${threads[@]}" > "$key.scores"
  IFS=, read -r _ value[$key] low high _ < <(grep '^image_retrieval,' "$key.scores")
  printf '| %s | %s | %.3f | %.3f to %.3f |\n' "$2" "$([ "$4" = clip ] && echo "retrieval head" || echo "prior")" "${value[$key]}" "$low" "$high"
}

status=0
verdict() {  # DIFFERENCE LOW [told]: in words; the wrong sign fails the call unless it is only told
  if awk -v low="$2" 'BEGIN { exit !(low > 0) }'; then verdict=holds
  elif awk -v d="$1" 'BEGIN { exit !(d > 0) }'; then verdict="a tendency"
  else
    verdict="does not show"
    [ -n "${3:-}" ] || status=1
  fi
}
demand() { verdict "$1" "$1"; }  # a difference without an interval: its sign
claim() {  # TEXT A B [told]: A finds more images than B
  local difference low high verdict
  me2-eval compare --run a,b "$2.csv" "$3.csv" --metrics image_retrieval --csv -q "${threads[@]}" > "$2-$3.compare"
  IFS=, read -r difference low high < <(columns "$2-$3.compare" difference low high)
  verdict "$difference" "$low" "${4:-}"
  printf -- '- %s: %s, by %.3f (%.3f to %.3f)\n' "$1" "$verdict" "$difference" "$low" "$high"
}
columns() {  # FILE NAME...: those columns of a CSV's first row, separated by commas
  awk -F, -v names="${*:2}" 'NR == 1 { for (i = 1; i <= NF; ++i) at[$i] = i } NR == 2 { n = split(names, name, " "); for (i = 1; i <= n; ++i) printf "%s%s", $at[name[i]], i < n ? "," : "\n" }' "$1"
}

others=()
for i in $(seq 2 $subjects); do others+=(--subjects "subjects/subj0$i.zarr"); done
one=(--subjects subjects/subj01.zarr --sessions 1)
batch=$((48 / (subjects - 1) * (subjects - 1)))  # as many of each subject
pretrain=(--no-prior "${others[@]}" --batch-size $batch --samples-per-epoch $((trials * (subjects - 1))) --epochs $pre_epochs --max-lr 1e-3)
train pretrained "${pretrain[@]}"
train pretrained_map "${pretrain[@]}" --mlp-map
one+=(--batch-size 48)
train scratch --no-prior "${one[@]}" --epochs $epochs --max-lr 1e-3
train scratch_fast --no-prior "${one[@]}" --epochs $epochs --max-lr 1e-2
several=(--subjects subjects/subj01.zarr --batch-size 48 --epochs $((2 + epochs / 4)) --max-lr 1e-3)
train scratch_all --no-prior "${several[@]}"
train map_all --no-prior "${several[@]}" --mlp-map
train finetuned --no-prior "${one[@]}" --pretrained pretrained --epochs $epochs --max-lr 1e-3
# One small session moves the whole backbone away from what the others taught it: the ridge alone keeps it.
train ridge_only --no-prior "${one[@]}" --pretrained pretrained --ridge-only --epochs $epochs --max-lr 1e-2
train map_only --no-prior "${one[@]}" --mlp-map --pretrained pretrained_map --ridge-only --epochs $epochs --max-lr 1e-2
train map_only_slow --no-prior "${one[@]}" --mlp-map --pretrained pretrained_map --ridge-only --epochs $epochs --max-lr 1e-3
if [ ! -e closed_form ]; then
  latents=()
  for i in $(seq 2 $subjects); do
    [ -e latent$i.zarr ] || me2-align apply subjects/subj0$i.zarr latent$i.zarr --model pretrained --split train "${threads[@]}" -q
    latents+=(--targets latent$i.zarr)
  done
  me2-align fit subjects/subj01.zarr closed_form --pretrained pretrained "${latents[@]}" --from-tokens targets.zarr --sessions 1 "${threads[@]}" -q
fi
if ((prior_epochs)); then
  train both "${one[@]}" --epochs $prior_epochs --max-lr 1e-3
  train prior_alone --no-clip "${one[@]}" --epochs $prior_epochs --max-lr 1e-3
fi

{
  echo "| trained on | by | top-1 of $test_images | 95 % interval |"
  echo "|---|---|---|---|"
  awk -v n=$test_images 'BEGIN { printf "| chance | | %.4f | |\n", 1 / n }'
  row scratch "1 session of $trials trials, from scratch" scratch clip
  row scratch_fast "the same, ten times the learning rate" scratch_fast clip
  row scratch_all "all $sessions sessions, from scratch" scratch_all clip
  row map_all "the same, MLP map" map_all clip
  row finetuned "the session after pretraining on $((subjects - 1)) subjects, everything trained" finetuned clip
  row ridge_only "after pretraining, the ridge alone trained" ridge_only clip
  row closed_form "after pretraining, the ridge in closed form (me2-align fit)" closed_form clip
  row map_only "after pretraining with MLP maps, the map alone trained" map_only clip
  row map_only_slow "the same, a tenth of the learning rate" map_only_slow clip
  if ((prior_epochs)); then
    row both_clip "contrastive + prior, from scratch" both clip
    row both "contrastive + prior, from scratch" both prior
    row alone "prior alone, from scratch" prior_alone prior
  fi
  echo
  demand "$(awk -v a="${value[scratch]}" -v n=$test_images 'BEGIN { print a - 10 / n }')"
  printf -- '- retrieval from scratch is over ten times chance: %s\n' "$verdict"
  claim "pretraining (ridge alone trained) beats scratch" ridge_only scratch
  claim "pretraining (ridge alone trained) beats scratch at its learning rate" ridge_only scratch_fast
  claim "the ridge beats the MLP map, all sessions from scratch" scratch_all map_all told
  claim "the ridge beats the MLP map, after pretraining" ridge_only map_only told
  claim "the ridge beats the MLP map at a tenth of its learning rate" ridge_only map_only_slow told
  demand "$(awk -v r="${value[ridge_only]}" -v a="${value[scratch_all]} ${value[map_all]} ${value[map_only]} ${value[map_only_slow]}" \
    'BEGIN { split(a, v, " "); print (v[1] - v[2] + 2 * r - v[3] - v[4]) / 3 }')"
  printf -- '- the ridge beats the MLP map, mean of the three: %s\n' "$verdict"
  if ((prior_epochs)); then
    claim "contrastive + prior, by its retrieval head, beats the prior alone" both_clip alone
    claim "contrastive + prior beats the prior alone, both by what the prior draws" both alone told
  fi
} > claims.md
cat claims.md
exit $status
