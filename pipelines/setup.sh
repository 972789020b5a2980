#!/usr/bin/env bash
# Installs what the build needs: Debian packages, and the pinned torch wheel (CPU part) into .deps/.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(cmake ninja-build g++ ccache make git pkg-config nlohmann-json3-dev libxtensor-dev libcli11-dev libboost1.81-dev
  libboost-filesystem1.81-dev libboost-system1.81-dev libhdf5-dev libblosc-dev libzstd-dev zlib1g-dev libarchive-dev libpng-dev
  libjpeg62-turbo-dev libwebp-dev libmatio-dev libfmt-dev libicu-dev libstemmer-dev wordnet-base libgtest-dev libgmock-dev
  libbenchmark-dev libssl-dev libgloo-dev bats bats-assert bats-support bats-file)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing ${#missing[@]} Debian packages"
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y --no-install-recommends "${missing[@]}"
fi
if ! [ -f .deps/torch/torch/lib/libtorch_cpu.so ]; then
  echo "setup: installing the torch wheel into .deps/torch"
  rm -rf .deps/torch
  python3 -m pip install --no-deps --target .deps/torch torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
fi
touch .deps/.ready
