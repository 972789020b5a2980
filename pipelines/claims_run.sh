#!/usr/bin/env bash
# One run of the paper's findings: a simulated population (SEED), one subject held out. Trains every model of every comparison with the
# tools and writes OUT/seed<SEED>/subj0<SUBJECT>/values.csv: condition,score,value.
#     pipelines/claims_run.sh BUILD OUT SEED SUBJECT
# pipelines/claims_page.sh joins the runs. What is there is kept: a call that was interrupted goes on.
# CLAIMS_SIZE=quick takes minutes, small is the form that a test runs; PARTS chooses among: sessions subjects map modules pictures.
set -euo pipefail
[ $# = 4 ] || { sed -n '4p' "$0" | cut -c3- >&2; exit 64; }
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(realpath "$1")/bin seed=$3 held=subj0$4
mkdir -p "$2/seed$seed/$held"
population=$(realpath "$2/seed$seed")
models=$(realpath "${TINY:-$root/pipelines/tiny/models}")
export PATH=$bin:$PATH ME2_FSYNC=${ME2_FSYNC:-off} OMP_NUM_THREADS=1
case ${CLAIMS_SIZE:-full} in
  full) subjects=5 sessions=12 trials=125 test=300 hidden=128 pre_epochs=12 epochs=30 counts="1 2 4 10 12" some="1 2" map_counts="1 10" module_epochs=20 ;;
  quick) subjects=4 sessions=4 trials=250 test=100 hidden=128 pre_epochs=10 epochs=30 counts="1 2 4" some=1 map_counts="1 4" module_epochs=25 ;;
  small) subjects=3 sessions=2 trials=100 test=30 hidden=32 pre_epochs=1 epochs=1 counts="1 2" some=1 map_counts="1 2" module_epochs=1 ;;
  *) echo "claims: CLAIMS_SIZE: full, quick or small expected, ${CLAIMS_SIZE} given" >&2; exit 64 ;;
esac
cd "$population"
exec 8> .lock
flock 8  # the subjects held out of one population share its stores
rm -rf simulated.partial targets.zarr.partial  # of a call that was killed: all but trainings begins anew
[ -e simulated ] || me2-preprocess simulate simulated --subjects $subjects --sessions $sessions --trials-per-session $trials --test-images $test --validation-images 20 \
  --voxel-scale 0.5 --seed "$seed" -q > /dev/null
[ -e targets.zarr ] || me2-embed images simulated/stimuli.zarr targets.zarr --model "$models/encoder" --vae "$models/vae" --lowlevel-size 64 -q
flock -u 8
cd "$held"
rm -rf ./*.zarr.partial ridge.partial
stimuli=../simulated/stimuli.zarr targets=../targets.zarr me=../simulated/$held.zarr
others=()
for i in $(seq $subjects); do [ "subj0$i" = "$held" ] || others+=("../simulated/subj0$i.zarr"); done

train() {  # NAME OPTIONS...: a model of that name
  local name=$1
  shift
  [ -e "$name" ] && return
  echo "claims: seed $seed, $held: $name"
  local state=()
  [ ! -e "$name.partial" ] || state=(--resume)
  me2-embed train $targets "$name" --hidden $hidden --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --evaluate-interval 0 --seed "$seed" -q "${state[@]}" "$@"
}
pretrain() {  # NAME SUBJECTS OPTIONS...: on so many of the other subjects, as many steps for each number
  local name=$1 count=$2 each=$((60 / $2))
  shift 2
  train "$name" "${others[@]:0:count}" --batch-size $((each * count)) --samples-per-epoch $((trials * sessions * 2)) --epochs $pre_epochs "$@"
}
others=("${others[@]/#/--subjects=}")
tune() {  # NAME SESSIONS OPTIONS...: the subject held out; fewer epochs where there are more trials
  local name=$1 count=$2
  shift 2
  train "$name" --subjects $me --sessions "$count" --batch-size 48 --epochs $(((epochs + count - 1) / count + (count > 1 ? epochs / 6 : 0))) "$@"
}
tokens() {  # NAME [OPTIONS]: latent and tokens of the test images
  [ -e "$1.latent.zarr" ] || me2-align apply $me "$1.latent.zarr" --model "${3:-$1}" --subject "$held" --split test ${2:+--brain $2} -q
  [ -e "$1.tokens.zarr" ] || me2-embed brain "$1.latent.zarr" "$1.tokens.zarr" --model "${3:-$1}" -q
}
drawn() { [ -e "$1.prior.zarr" ] || me2-prior sample "$1.tokens.zarr" "$1.prior.zarr" --model "${2:-$1}" --steps 4 --draws 8 --mean --seed "$seed" -q; }
keep() { awk -F, -v condition="$1" '$1 != "score" && $6 == "" { print condition "," $1 "," $2 }' "$2" >> values.part; }  # CONDITION CSV
score() {  # KIND CONDITION ARGUMENTS...: runs the scores once, and keeps the figures
  local kind=$1 condition=$2 csv=$1.$2.csv
  shift 2
  case $kind in
    retrieval) set -- retrieval "$@" --truth $targets --truth-array clip_tokens --ways $test --draws 1 ;;
    words) set -- score --captions "$@" --references $stimuli --scene-labels $stimuli --metrics caption_category,caption_colour --resamples 100 ;;
    pictures) set -- score "$@" --truth $stimuli --scene-labels $stimuli --scorer "$models/scorer" --metrics pixcorr,recon_category,recon_colour,tower_two_way --resamples 100 ;;
  esac
  [ -s "$csv" ] || { me2-eval "$@" --allow-missing --csv -q > "$csv.new" && mv "$csv.new" "$csv"; }
  keep "$condition" "$csv"
}
found() { tokens "$1"; score retrieval "$1" "$1.tokens.zarr"; }

: > values.part
retrieval=(--no-prior --no-lowlevel)
for part in ${PARTS:-sessions subjects map modules pictures}; do
  case $part in
    sessions)
      pretrain pretrained $((subjects - 1)) "${retrieval[@]}"
      for count in $counts; do
        tune "scratch_$count" "$count" "${retrieval[@]}"; found "scratch_$count"
        tune "tuned_$count" "$count" "${retrieval[@]}" --pretrained pretrained; found "tuned_$count"
      done
      [ -e ridge ] || me2-align fit $me ridge --to tokens --from-tokens $targets --sessions 1 -q
      [ -e ridge.tokens.zarr ] || me2-align apply $me ridge.tokens.zarr --model ridge --subject "$held" --split test --average repeats -q
      score retrieval ridge ridge.tokens.zarr
      ;;
    subjects)
      for count in $some; do
        pretrain "pretrained_by_$count" "$count" "${retrieval[@]}"
        tune "tuned_by_$count" 1 "${retrieval[@]}" --pretrained "pretrained_by_$count"; found "tuned_by_$count"
      done
      ends=$(sed -n "s/^scratch_1,/tuned_by_0,/p; s/^tuned_1,/tuned_by_$((subjects - 1)),/p" values.part)  # of the part before: none, and all
      [ -z "$ends" ] || echo "$ends" >> values.part
      ;;
    map)
      pretrain pretrained_map $((subjects - 1)) "${retrieval[@]}" --mlp-map
      tune map_tuned_1 1 "${retrieval[@]}" --mlp-map --pretrained pretrained_map; found map_tuned_1
      for count in $map_counts; do
        tune "map_scratch_$count" "$count" "${retrieval[@]}" --mlp-map; found "map_scratch_$count"
      done
      ;;
    modules)  # trained from scratch on all sessions, as the paper's ablation is; a prior needs some 500 steps
      while read -r name options; do
        # shellcheck disable=SC2086  # several options
        train "$name" --subjects $me --batch-size 48 --epochs $module_epochs $options
        tokens "$name"
        case $options in *--no-clip*) ;; *) score retrieval "$name" "$name.tokens.zarr" ;; esac
        case $options in *--no-prior*) ;; *)
          drawn "$name"
          score retrieval "$name+drawn" "$name.prior.zarr"
          [ -e "$name.caption.zarr" ] || me2-caption generate "$name.prior.zarr" "$name.caption.zarr" --model "$models/git" -q
          score words "$name" "$name.caption.zarr" ;;
        esac
        case $options in *--no-lowlevel*) ;; *)
          [ -e "$name.lowlevel.zarr" ] || me2-decode lowlevel "$name.tokens.zarr" "$name.lowlevel.zarr" --model "$models/vae" -q
          score pictures "$name+lowlevel" "$name.lowlevel.zarr" ;;
        esac
      done <<- 'MODULES'
	prior --no-clip --no-lowlevel
	prior_lowlevel --no-clip
	retrieval --no-prior --no-lowlevel
	retrieval_lowlevel --no-prior
	prior_retrieval --no-lowlevel
	all_modules
	MODULES
      ;;
    pictures)  # all sessions after pretraining with all modules: what is seen, and between which floors and ceiling
      pretrain pretrained_whole $((subjects - 1))
      tune whole $sessions --pretrained pretrained_whole
      for brain in own shuffled mean; do
        tokens "whole_$brain" $brain whole; score retrieval "whole_$brain" "whole_$brain.tokens.zarr"; drawn "whole_$brain" whole
      done
      [ -e whole_true.prior.zarr ] || me2-embed images $stimuli whole_true.prior.zarr --model "$models/encoder" --only whole_own.latent.zarr -q
      for way in own shuffled mean true; do
        way=whole_$way
        [ -e "$way.recon.zarr" ] || me2-decode unclip "$way.prior.zarr" "$way.recon.zarr" --model "$models/unet" --vae "$models/vae" --seed "$seed" -q
        score pictures "$way" "$way.recon.zarr"
        [ -e "$way.caption.zarr" ] || me2-caption generate "$way.prior.zarr" "$way.caption.zarr" --model "$models/git" -q
        score words "$way" "$way.caption.zarr"
      done
      refine() { [ -e "$1.zarr" ] || me2-decode refine whole_own.recon.zarr whole_own.caption.zarr "$1.zarr" --model "$models/refiner" --vae "$models/vae" --size 64 --negative "" \
        --guidance "$2" --seed "$seed" -q; score pictures "$1" "$1.zarr"; }
      refine refined 5
      refine refined_empty 0  # nothing but the empty prompt
      ;;
    *) echo "claims: PARTS: $part is none of sessions subjects map modules pictures" >&2; exit 64 ;;
  esac
done
mv values.part values.csv
