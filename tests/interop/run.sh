#!/usr/bin/env bash
# Our Zarr against other libraries'. Uses what the interpreter $ME2_PYTHON (python3) can import; with ME2_INTEROP=1 a throw-away
# environment is made for each zarr-python (2.13 and 3.x, with xarray and tensorstore) and the long form is run.
#     tests/interop/run.sh BUILD [COUNT]
set -euo pipefail
build=$(realpath "$1") count=${2:-60}
here=$(dirname "$(realpath "$0")")
tool=$build/tests/me2-test-zarr
if [ "${ME2_INTEROP:-0}" != 1 ]; then
  python=${ME2_PYTHON:-python3}
  "$python" -c 'import numpy' 2> /dev/null || { echo "skipped: $python has no numpy; ME2_INTEROP=1 makes an environment"; exit 77; }
  exec "$python" "$here/zarr_roundtrip.py" --tool "$tool" --count "$count"
fi
count=${2:-250}
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
environment() {
  local name=$1
  shift
  python3 -m venv "$venv/$name"
  "$venv/$name/bin/pip" --quiet --disable-pip-version-check install "$@"
}
environment three 'zarr>=3,<4' xarray tensorstore
"$venv/three/bin/python" "$here/zarr_roundtrip.py" --tool "$tool" --count "$count"
environment two 'zarr==2.13.6' 'numcodecs<0.12' 'numpy<2' 'setuptools<80'
"$venv/two/bin/python" "$here/zarr_roundtrip.py" --tool "$tool" --count "$count" --libraries zarr
