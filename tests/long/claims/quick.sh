#!/usr/bin/env bash
# pipelines/claims.sh --quick in a folder of its own: fails when retrieval is not far above chance or pretraining does not help.
set -euo pipefail
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
"$(dirname "$0")/../../../pipelines/claims.sh" --quick "$1" "$out"
