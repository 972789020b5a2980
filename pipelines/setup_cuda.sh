#!/usr/bin/env bash
# Adds NVIDIA's libraries to the pinned LibTorch in .deps, so that --device cuda works: the versions that its own package asks for
# (2.5 GB to fetch, 4.5 GB on disk). The driver is the machine's. setup.sh again, or a new pin, takes them away.
set -euo pipefail
cd "$(dirname "$0")/.."
torch=.deps/torch
bash pipelines/setup.sh
[ -e "$torch/.cuda-ready" ] && { echo "setup: NVIDIA's libraries are there"; exit 0; }
mapfile -t wanted < <(sed -n 's/^Requires-Dist: \(\(cuda-toolkit\|nvidia-\)[^;]*\).*/\1/p' "$torch"/torch-*.dist-info/METADATA)
((${#wanted[@]} > 2)) || { echo "setup: $torch does not say which CUDA libraries it needs" >&2; exit 1; }
echo "setup: installing ${wanted[*]}"
python=python3
$python -m pip --version > /dev/null 2>&1 || python=/usr/bin/python3
rm -rf "$torch.cuda"
$python -m pip install --disable-pip-version-check --target "$torch.cuda" --only-binary=:all: --implementation py --python-version 3.11 --abi none \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${wanted[@]}"
cp -rn "$torch.cuda/nvidia/." "$torch/nvidia/"  # where LibTorch looks
rm -rf "$torch.cuda"
touch "$torch/.cuda-ready"
echo "setup: ready for --device cuda"
