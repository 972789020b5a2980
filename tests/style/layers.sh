#!/usr/bin/env bash
# Each layer includes only lower ones (libcommon/LAYERS, lowest first; siblings on one line do not include each other).
# Prints file:line of every upward or sideways include. Of libcommon only: tools include what they like, except each other.
# cuda/ is a library of its own beside nn (it is loaded, not linked): it may include what nn may, and nn itself; nothing includes it.
cd "$(dirname "$0")/../../libcommon" && awk -F'["/]' '
  FILENAME == "LAYERS" {
    n = split($0, names, " ")
    for (i = 1; i <= n; i++) {
      rank[names[i]] = FNR
      if (names[i] == "nn") rank["cuda"] = FNR + .5
    }
    next
  }
  /^#include "[a-z_]+\// {
    split(FILENAME, at, "/")
    if ($2 == "cli" && at[1] != "cli") { print FILENAME ":" FNR ": only tools include cli/: " $0; bad = 1 }
    else if ($2 == "cuda" && at[1] != "cuda") { print FILENAME ":" FNR ": cuda/ is loaded at run time: " $0; bad = 1 }
    else if ($2 != at[1] && !(rank[$2] && rank[$2] < rank[at[1]])) { print FILENAME ":" FNR ": " $0; bad = 1 }
  }
  END { exit bad }' LAYERS */*.h */*.cpp */*.cu
