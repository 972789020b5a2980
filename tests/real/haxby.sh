#!/usr/bin/env bash
# Real fMRI: leave-one-run-out identification of eight categories in subject 1 of Haxby et al. 2001, with our tools from BOLD to score.
#     tests/real/haxby.sh [BUILD [DATA [OUT.md]]]
# For each of the 12 runs: its blocks are the test trials of `me2-preprocess custom`, `me2-align fit --to tokens` learns a ridge from the
# other 11 (penalty by leaving one of those runs out at a time), and `me2-eval retrieval` finds the category of each held-out block among
# the eight embeddings. The embeddings are the rows of the identity: with them a closed-form ridge ranks the categories as with any other
# eight orthonormal ones. Beside it, where scikit-learn is importable (ME2_REAL_PYTHON, default python3): the same folds, of the same stores.
# Fails below .604, what correlation with category means reaches (SOURCE.md of the data). 77: the data are not on this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${1:-$here/../../build}")
data=${2:-${ME2_SHARED:-$here/../../../shared}/real/haxby2001}
[ -e "$data/mask.nii.gz" ] || { echo "haxby: no data in $data" >&2; exit 77; }
out=${3:-}
export PATH=$build/bin:$PATH ME2_FSYNC=off OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# A target store by hand: clip_tokens [8, 1, 8], the identity, and which stimulus each row is.
zarr_array() {  # PATH TYPE SHAPE DIMENSIONS; the chunk's bytes on stdin
  mkdir -p "$1/$(dirname "$5")"
  printf '{"zarr_format":3,"node_type":"array","shape":[%s],"data_type":"%s","chunk_grid":{"name":"regular","configuration":{"chunk_shape":[%s]}},
    "chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"fill_value":0,
    "codecs":[{"name":"bytes","configuration":{"endian":"little"}}],"dimension_names":[%s],"attributes":{}}\n' "$3" "$2" "$3" "$4" > "$1/zarr.json"
  cat > "$1/$5"
}
mkdir -p "$work/categories.zarr"
echo '{"zarr_format":3,"node_type":"group","attributes":{"kind":"stage"}}' > "$work/categories.zarr/zarr.json"
for row in {0..7}; do for column in {0..7}; do if ((row == column)); then printf '\0\0\200\077'; else printf '\0\0\0\0'; fi; done; done |
  zarr_array "$work/categories.zarr/clip_tokens" float32 8,1,8 '"sample","token","feature"' c/0/0/0
for row in {0..7}; do printf "\\x0$row\\0\\0\\0"; done | zarr_array "$work/categories.zarr/stimulus" int32 8 '"sample"' c/0

sources=()
for run in "$data"/haxby2001/sub001/BOLD/task001_run*; do sources+=(--bold "$run/bold_1slice.nii.gz" --events "$run/bold_events.tsv"); done
for run in {1..12}; do
  me2-preprocess custom "$work/run$run.zarr" "${sources[@]}" --mask "$data/mask.nii.gz" --estimate block --shift 0 --standardise rest --normalise none \
    --split "run:$run" --shared-images -q > /dev/null
  # The training trials stand run by run, so that 11 contiguous folds are the 11 runs.
  me2-align fit "$work/run$run.zarr" "$work/ridge$run" --to tokens --from-tokens "$work/categories.zarr" --each-trial --alpha-by k-fold --folds 11 \
    --alphas 1,10,100,1000,10000,100000 -q
  me2-align apply "$work/run$run.zarr" "$work/predicted$run.zarr" --model "$work/ridge$run" --split test -q
  array=clip_tokens
  [ -e "$work/predicted$run.zarr/clip_tokens" ] || array=latent
  me2-eval retrieval "$work/predicted$run.zarr" --truth "$work/categories.zarr" --brain-array $array --truth-array clip_tokens --ways 8 --draws 1 \
    --per-image "$work/hits$run.csv" -q > /dev/null
done

# Wilson's interval of a proportion, 95 %.
row() {  # NAME HITS OF
  awk -v name="$1" -v k="$2" -v n="$3" 'BEGIN { z = 1.959964; p = k / n; d = 1 + z * z / n; c = (p + z * z / 2 / n) / d
    h = z * sqrt(p * (1 - p) / n + z * z / 4 / n / n) / d; printf "| %s | %.3f | %.3f to %.3f |\n", name, p, c - h, c + h }'
}
hits=$(cat "$work"/hits*.csv | awk -F, '/^[0-9]/ { n += $2 } END { print n }')
of=$(cat "$work"/hits*.csv | grep -c '^[0-9]')
{
  echo "| 8 categories, 12 folds, $of blocks | accuracy | 95 % interval |"
  echo "|---|---|---|"
  echo "| chance | 0.125 | |"
  echo "| correlation with category means (SOURCE.md of the data) | 0.604 | |"
  row "me2-align fit --to tokens, me2-eval retrieval" "$hits" "$of"
} > "$work/table.md"
python=${ME2_REAL_PYTHON:-python3}
if "$python" -c 'import sklearn' 2> /dev/null; then
  for run in {1..12}; do
    for array in betas stimulus split; do me2-preprocess show "$work/run$run.zarr" --array $array --npy "$work/$array$run.npy" -q > /dev/null; done
  done
  "$python" "$here/haxby_sklearn.py" "$work" | while IFS=, read -r name k n; do row "$name" "$k" "$n"; done >> "$work/table.md"
fi
cat "$work/table.md"
[ -z "$out" ] || cp "$work/table.md" "$out"
awk -v k="$hits" -v n="$of" 'BEGIN { exit !(n == 96 && k / n >= .604) }' || { echo "haxby: $hits of $of blocks identified; at least .604 of 96 expected" >&2; exit 1; }
