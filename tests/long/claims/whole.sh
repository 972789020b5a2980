#!/usr/bin/env bash
# pipelines/claims_run.sh in its small form, every part, and the page from it. What is tested is that every comparison is made, not what it
# gives: the models are trained for a few steps.
set -euo pipefail
pipelines=$(dirname "$0")/../../../pipelines
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
CLAIMS_SIZE=small "$pipelines/claims_run.sh" "$1" "$out" 1 2
values=$out/seed1/subj02/values.csv
for condition in scratch_1 scratch_2 tuned_1 tuned_2 ridge tuned_by_1 map_tuned_1 map_scratch_1 map_scratch_2 prior+drawn prior_lowlevel+drawn retrieval retrieval_lowlevel prior_retrieval \
  prior_retrieval+drawn all_modules all_modules+drawn whole_own whole_shuffled whole_mean; do
  grep -q "^$condition,image_retrieval,[01]" "$values" || { echo "no retrieval of $condition" >&2; exit 1; }
done
for condition in prior_lowlevel+lowlevel retrieval_lowlevel+lowlevel all_modules+lowlevel whole_own whole_shuffled whole_mean whole_true refined refined_empty; do
  grep -q "^$condition,pixcorr,-\?[01]" "$values" || { echo "no pictures of $condition" >&2; exit 1; }
done
for condition in prior all_modules whole_own whole_true; do
  grep -q "^$condition,caption_category,[01]" "$values" || { echo "no captions of $condition" >&2; exit 1; }
done
# The empty caption gives other pictures than the predicted one; a second call trains nothing.
! cmp -s "$out/seed1/subj02/pictures.refined.csv" "$out/seed1/subj02/pictures.refined_empty.csv"
before=$(cat "$values")
rm -r "$out/seed1/subj02/whole_true.caption.zarr" && mkdir "$out/seed1/subj02/whole_true.caption.zarr.partial"  # as a kill leaves it
[ -z "$(CLAIMS_SIZE=small "$pipelines/claims_run.sh" "$1" "$out" 1 2)" ]
[ "$before" = "$(cat "$values")" ]
printf '<!-- claims: made by pipelines/claims_page.sh -->\n<!-- end of claims -->\n' > "$out/page.md"
"$pipelines/claims_page.sh" "$out" "$out/page.md"
grep -q '^| refined, empty caption | 0' "$out/page.md"
