#!/usr/bin/env bash
# scikit-learn on the folds of new_subject.sh: prints NAME,HITS,OF lines, none where PYTHON has no scikit-learn.
#     new_subject_also.sh OUT PYTHON
set -euo pipefail
"$2" -c 'import sklearn' 2> /dev/null || exit 0
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for fold in {1..12}; do
  for array in betas stimulus split; do me2-preprocess show "$1/fold$fold/subject.zarr" --array $array --npy "$work/$array$fold.npy" -q > /dev/null; done
done
"$2" "$(dirname "$0")/haxby_sklearn.py" "$work" | sed "s/to the same embeddings/to one-hot categories/"
