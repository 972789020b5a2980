#!/usr/bin/env bash
# The demo's scores side by side: one row a score, one column a way from brain to picture, each with its 95 % interval.
#     pipelines/table.sh DEMO WAY...        reads DEMO/{scores,retrieval,captions}.csv and DEMO/WAY/*.csv; TABLE=markdown: for a page
set -euo pipefail
demo=$1
shift
for way in "" "$@"; do
  for kind in scores retrieval captions; do
    file=$demo/${way:+$way/}$kind.csv
    [ ! -e "$file" ] || sed "s/^/${way:-one_session},/" "$file"
  done
done | awk -F, -v ways="one_session $*" -v markdown="${TABLE:-}" '
  $2 == "score" || $7 != "" { next }  # headers, and scores of split files
  { value[$1, $2] = sprintf("%.3f", $3); interval[$1, $2] = $4 == "" ? "" : sprintf("(%.2f-%.2f)", $4, $5)
    if (!($2 in seen)) seen[$2] = ++rows; name[seen[$2]] = $2 }
  END {
    n = split(ways, way, " ")
    if (markdown == "markdown") {
      printf "| score |"; for (w = 1; w <= n; ++w) printf " %s |", way[w]; printf "\n|---|"; for (w = 1; w <= n; ++w) printf "---|"; print ""
      for (r = 1; r <= rows; ++r) { printf "| %s |", name[r]; for (w = 1; w <= n; ++w) printf " %s |", value[way[w], name[r]] " " interval[way[w], name[r]]; print "" }
      exit
    }
    printf "%-20s", "score"; for (w = 1; w <= n; ++w) printf " %-19s", way[w]; print ""
    for (r = 1; r <= rows; ++r) {
      printf "%-20s", name[r]
      for (w = 1; w <= n; ++w) printf " %-19s", (way[w], name[r]) in value ? value[way[w], name[r]] " " interval[way[w], name[r]] : "-"
      print ""
    }
  }'
