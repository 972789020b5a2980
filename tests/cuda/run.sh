#!/usr/bin/env bash
# Runs what there is for --device cuda: networks, kernels, the recorded denoising step, then the tools. 77 where there is no GPU.
#     tests/cuda/run.sh BUILD              on this machine's GPU
#     tests/cuda/run.sh BUILD --stand-in [tools]   on the CPU (without the tools unless asked for), behind a stand-in for a GPU (tests/cuda/stand_in.cpp): what it cannot show is in docs/cuda.md
set -uo pipefail
build=$(realpath "$1") here=$(realpath "$(dirname "$0")")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} ME2_BUILD=$build ME2_FSYNC=off
if [ "${2:-}" = --stand-in ]; then
  export LD_LIBRARY_PATH=$build/tests/stand_in ME2_CUDA_STAND_IN=1
elif ! reason=$("$build/tests/cuda_tests" --gtest_filter=Device.IsHere 2>&1); then
  echo "no GPU that could be used: $(grep -m 1 -- '--device' <<< "$reason")"
  exit 77
elif command -v nvidia-smi > /dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi
status=0
"$build/tests/cuda_tests" || status=1
if [ "${2:-}" != --stand-in ] || [ "${3:-}" = tools ]; then bats --timing "$here/tools.bats" || status=1; fi
exit $status
