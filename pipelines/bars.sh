#!/usr/bin/env bash
# What the demo is held to, one line each: the figure, its 95 % interval, and whether it is met. The floors are to be left behind with
# disjoint intervals.
#     pipelines/bars.sh DEMO        reads DEMO/*.csv and DEMO/{refined,scratch,shuffled,mean}/*.csv
set -euo pipefail
demo=$1
for way in "" refined scratch shuffled mean; do
  for kind in scores retrieval captions; do
    file=$demo/${way:+$way/}$kind.csv
    [ ! -e "$file" ] || sed "s/^/${way:-session},/" "$file"
  done
done | awk -F, '
  $2 == "score" || $7 != "" { next }
  { value[$1, $2] = $3; low[$1, $2] = $4 == "" ? $3 : $4; high[$1, $2] = $5 == "" ? $3 : $5 }
  function line(way, score, text, good) {
    printf("%-16s %.3f (%.2f-%.2f)  %-66s %s\n", score, value[way, score], low[way, score], high[way, score], text, good ? "met" : "not met")
  }
  function bar(score, least, text, way) {
    if (way == "") way = "session"
    line(way, score, text, value[way, score] >= least)
  }
  function above(score,    s, m) {
    s = high["shuffled", score]; m = high["mean", score]
    line("session", score, sprintf("above shuffled %.3f and mean brain %.3f, intervals disjoint", value["shuffled", score], value["mean", score]),
         (low["session", score] > s) && (low["session", score] > m))
  }
  END {
    bar("image_retrieval", .5, "at least .50")
    bar("image_retrieval", 1.5 * value["scratch", "image_retrieval"], sprintf("at least 1.5 times scratch (%.3f)", value["scratch", "image_retrieval"]))
    bar("caption_category", .4, "at least .40, chance .07")
    bar("caption_colour", .6, "at least .60, chance .125")
    bar("recon_category", .3, "at least .30, chance .07: the last picture, refined", "refined")
    bar("recon_category", .3, "the same before it is refined with the caption")
    above("image_retrieval"); above("pixcorr"); above("tower_two_way")
  }'
