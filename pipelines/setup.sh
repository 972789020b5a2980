#!/usr/bin/env bash
# Installs what the build needs: Debian packages, and the pinned torch wheel (its CPU part) into .deps/. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(cmake ninja-build g++ ccache make git pkg-config nlohmann-json3-dev libxtensor-dev libcli11-dev libboost1.81-dev
  libboost-filesystem1.81-dev libboost-system1.81-dev libhdf5-dev libblosc-dev libzstd-dev zlib1g-dev libarchive-dev libpng-dev
  libjpeg62-turbo-dev libwebp-dev libmatio-dev libfmt-dev libicu-dev libstemmer-dev wordnet-base libgtest-dev libgmock-dev
  libbenchmark-dev libssl-dev libgloo-dev bats bats-assert bats-support bats-file parallel jq)
torch=.deps/torch

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

[ "$(uname -sm)" = "Linux x86_64" ] || fail "the pinned LibTorch is for Linux on x86_64; this is $(uname -sm)"

if command -v dpkg-query > /dev/null; then
  python3 -m pip --version > /dev/null 2>&1 || packages+=(python3 python3-pip)
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2> /dev/null | sed -n 's/ installed$//p')
  missing=()
  for package in "${packages[@]}"; do grep -qx "$package" <<< "$installed" || missing+=("$package"); done
  if ((${#missing[@]})); then
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    sudo=
    if [ "$(id -u)" != 0 ]; then
      command -v sudo > /dev/null || fail "run as root once: apt-get install ${missing[*]}"
      sudo="sudo --preserve-env=http_proxy,https_proxy"
    fi
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
  fi
else
  say "no Debian packages here; the build needs what this names: ${packages[*]}"
fi

have() { compgen -G "$torch/$1" > /dev/null; }
wanted=$(sed -n 's/^\([a-z-]*\)==\([0-9.]*\).*/\1-\2/p' pipelines/requirements.txt | tr - _ | sed 's/_\([0-9]\)/-\1/')
complete=yes
for name in $wanted; do have "$name.dist-info" || complete=no; done
have torch/lib/libtorch_cpu.so || complete=no
if [ "$complete" = no ]; then
  say "installing the torch wheel into $torch (0.6 GB to fetch, 1.3 GB on disk; under a minute on a fast line)"
  rm -rf "$torch" "$torch.partial"
  python=python3
  $python -m pip --version > /dev/null 2>&1 || python=/usr/bin/python3
  # The wheel is used for its C++ part alone, so the same one serves whatever Python runs pip. --target is allowed where
  # Debian manages the packages, and needs no virtual environment.
  $python -m pip install --disable-pip-version-check --no-deps --require-hashes --target "$torch.partial" --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    -r pipelines/requirements.txt
  mv "$torch.partial" "$torch"
fi
touch .deps/.ready
say "ready"
