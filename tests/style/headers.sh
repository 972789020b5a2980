#!/usr/bin/env bash
# Each header of the layers without LibTorch compiles alone. (Those on LibTorch cost seconds each; their sources include them first.)
#     headers.sh BIN
generated=$(realpath "$1")/../generated
cd "$(dirname "$0")/../../libcommon" || exit 1
check() {
  echo "#include \"$1\"" | ${CXX:-c++} -std=c++20 -DFMT_HEADER_ONLY=1 -I. -I"$generated" -fsyntax-only -Wall -Wextra -Werror -x c++ - > /tmp/me2-header.$$ 2>&1 ||
    { echo "$1 does not compile alone:"; head -5 /tmp/me2-header.$$; rm -f /tmp/me2-header.$$; return 1; }
  rm -f /tmp/me2-header.$$
}
export -f check
export generated
printf '%s\0' base/*.h store/*.h ingest/*.h scenes/*.h cli/*.h | xargs -0 -n 1 -P 2 bash -c 'check "$0"'
