#!/usr/bin/env bash
# One scanned person, from BOLD and events to pictures, captions, identification and a report, each held-out part of the data in turn.
#     pipelines/new_subject.sh CONFIG
# CONFIG is a piece of bash that sets (docs/your-own-subject.md has an example):
#     out=FOLDER            where everything goes
#     models=FOLDER         with encoder/, unet/, vae/, git/ (the tiny ones), whose tokens the voxels are mapped to
#     images=FOLDER         the stimulus pictures;  side=64  captions=FILE.tsv (optional)
#     bold=(FILE...) events=(FILE...)   one of each per run
#     import=(OPTIONS...)   further options of me2-preprocess custom: mask, estimate, ...
#     fit=(OPTIONS...)      further options of me2-align fit
#     pretrained=MODEL      optional: a model of other people (of me2-embed train, or last.pth) on the same tokens. It is fine-tuned to this
#                           person in each fold, and its prior makes the tokens, in place of the closed-form map;
#     train=(OPTIONS...)    further options of me2-embed train;  prior=(OPTIONS...)  of me2-prior sample
#     splits=(SPEC...)      test trials of each fold, as --split has them: run:1 run:2 ...
#     ways=N chance=P       of the identification;  title=TEXT
#     also() { ...; }       optional: prints NAME,HITS,OF lines of other decoders on the folds in $out, for the table
# A second call makes what is missing, and goes on where the first was interrupted. Ends with OUT/summary.md (identification over all folds with Wilson's 95 % interval) and
# OUT/report.html (the last fold).
set -euo pipefail
[ $# = 1 ] || { sed -n '2,20s/^# \{0,1\}//p' "$0"; exit 64; }
side=64 captions='' also='' pretrained='' fit=() train=() prior=()
# shellcheck source=/dev/null
source "$1"
missing=()
for file in "$models"/{encoder,unet,vae,git}/model.safetensors "$images" ${captions:+"$captions"} ${pretrained:+"$pretrained"} "${bold[@]}" "${events[@]}"; do
  [ -e "$file" ] || missing+=("$file")
done
[ ${#missing[@]} = 0 ] || { printf 'new_subject: %s is missing\n' "${missing[@]}" >&2; exit 66; }
mkdir -p "$out"
say() { echo "new_subject: $1" >&2; }
step=$(dirname "$0")/step.sh
once() { local made=$1; shift; [ -e "$made" ] || "$step" "$made" "$@" -q; }  # what was interrupted goes on

say "stimuli and their image tokens"
once "$out/stimuli.zarr" me2-preprocess stimuli "$images" "$out/stimuli.zarr" --size "$side" ${captions:+--captions "$captions"} > /dev/null
once "$out/targets.zarr" me2-embed images "$out/stimuli.zarr" "$out/targets.zarr" --model "$models/encoder" ${pretrained:+--vae "$models/vae" --lowlevel-size "$side"}
if [ -n "$pretrained" ]; then asks=brain array=clip how="me2-embed train --pretrained, me2-eval retrieval"; else asks=tokens array=clip_tokens how="me2-align fit --to tokens, me2-eval retrieval"; fi
sources=()
for i in "${!bold[@]}"; do sources+=(--bold "${bold[i]}" --events "${events[i]}"); done
fold=0
for split in "${splits[@]}"; do
  fold=$((fold + 1))
  at=$out/fold$fold
  say "fold $fold of ${#splits[@]}: $split held out"
  mkdir -p "$at"
  once "$at/subject.zarr" me2-preprocess custom "$at/subject.zarr" "${sources[@]}" --images "$images" --split "$split" "${import[@]}" > /dev/null
  if [ -n "$pretrained" ]; then
    once "$at/finetuned" me2-embed train "$out/targets.zarr" "$at/finetuned" --subjects "$at/subject.zarr" --pretrained "$pretrained" "${train[@]}"
    once "$at/latent.zarr" me2-align apply "$at/subject.zarr" "$at/latent.zarr" --model "$at/finetuned" --split test
    once "$at/brain.zarr" me2-embed brain "$at/latent.zarr" "$at/brain.zarr" --model "$at/finetuned"
    once "$at/tokens.zarr" me2-prior sample "$at/brain.zarr" "$at/tokens.zarr" --model "$at/finetuned" "${prior[@]}"
  else
    once "$at/ridge" me2-align fit "$at/subject.zarr" "$at/ridge" --to tokens --from-tokens "$out/targets.zarr" "${fit[@]}"
    once "$at/tokens.zarr" me2-align apply "$at/subject.zarr" "$at/tokens.zarr" --model "$at/ridge" --split test
  fi
  once "$at/recon.zarr" me2-decode unclip "$at/tokens.zarr" "$at/recon.zarr" --model "$models/unet" --vae "$models/vae"
  once "$at/captions.zarr" me2-caption generate "$at/tokens.zarr" "$at/captions.zarr" --model "$models/git"
  once "$at/retrieval.json" me2-eval retrieval "$at/$asks.zarr" --truth "$out/targets.zarr" --brain-array "$array" --truth-array clip_tokens --allow-missing \
    --ways "$ways" --draws 1 --out "$at/retrieval.json" --per-image "$at/hits.csv" --overwrite > /dev/null
  once "$at/scores.json" me2-eval score "$at/recon.zarr" --truth "$out/stimuli.zarr" --metrics pixcorr,ssim --allow-missing --out "$at/scores.json" \
    --per-image "$at/images.csv" --overwrite > /dev/null
done

row() {  # NAME HITS OF
  awk -v name="$1" -v k="$2" -v n="$3" 'BEGIN { z = 1.959964; p = k / n; d = 1 + z * z / n; c = (p + z * z / 2 / n) / d
    h = z * sqrt(p * (1 - p) / n + z * z / 4 / n / n) / d; printf "| %s | %.3f | %.3f to %.3f |\n", name, p, c - h, c + h }'
}
hits=$(cat "$out"/fold*/hits.csv | awk -F, '/^[0-9]/ { n += $2 } END { print n + 0 }')
of=$(cat "$out"/fold*/hits.csv | grep -c '^[0-9]')
accuracy=$(row x "$hits" "$of" | awk -F'|' '{ gsub(/^ | $/, "", $3); gsub(/^ | $/, "", $4); print $3 " (95 % " $4 ")" }')
{
  echo "# $title"
  echo
  echo "| $ways-way identification, ${#splits[@]} folds, $of test stimuli | accuracy | 95 % interval |"
  echo "|---|---|---|"
  echo "| chance | $chance | |"
  row "$how" "$hits" "$of"
  if declare -F also > /dev/null; then also | while IFS=, read -r name k n; do row "$name" "$k" "$n"; done; fi
} > "$out/summary.md"
say "report of the last fold"
me2-eval report "$out/report.html" --scores "$out/fold$fold/retrieval.json" --scores "$out/fold$fold/scores.json" --per-image "$out/fold$fold/images.csv" \
  --truth "$out/stimuli.zarr" --recon "$out/fold$fold/recon.zarr" --captions "$out/fold$fold/captions.zarr" ${captions:+--references "$out/stimuli.zarr"} \
  --brain "$out/fold$fold/$asks.zarr" --brain-array "$array" --targets "$out/targets.zarr" --overwrite -q \
  --title "$title Identification over all ${#splits[@]} folds: $accuracy, chance $chance."
cat "$out/summary.md"
echo "The report: $out/report.html" >&2
