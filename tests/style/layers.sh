#!/usr/bin/env bash
# Each layer includes only lower ones (libcommon/LAYERS, lowest first; siblings on one line do not include each other).
# Prints file:line of every upward or sideways include. Of libcommon only: tools include what they like, except each other.
cd "$(dirname "$0")/../../libcommon" && awk -F'["/]' '
  FILENAME == "LAYERS" { n = split($0, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = FNR; next }
  /^#include "[a-z_]+\// {
    split(FILENAME, at, "/")
    if ($2 == "cli" && at[1] != "cli") { print FILENAME ":" FNR ": only tools include cli/: " $0; bad = 1 }
    else if ($2 != at[1] && !(rank[$2] && rank[$2] < rank[at[1]])) { print FILENAME ":" FNR ": " $0; bad = 1 }
  }
  END { exit bad }' LAYERS */*.h */*.cpp
