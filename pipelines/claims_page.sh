#!/usr/bin/env bash
# Joins the runs of claims_run.sh: tables and comparisons as Markdown, two figures as SVG.
#     pipelines/claims_page.sh CLAIMS PAGE        PAGE: what stands between its two claims marks is replaced; figures go beside it
# A figure is a mean over runs (a run: one population and one subject held out) with the 95 % t interval over runs; a comparison is the
# mean of the differences within runs, likewise.
set -euo pipefail
[ $# = 2 ] || { sed -n '3p' "$0" | cut -c3- >&2; exit 64; }
claims=$1 page=$2 figures=$(dirname "$2")
shopt -s nullglob
runs=("$claims"/seed*/subj0*/values.csv)
((${#runs[@]})) || { echo "claims: no run is complete in $claims" >&2; exit 66; }
begin='<!-- claims: made by pipelines/claims_page.sh -->' end='<!-- end of claims -->'
grep -qF -- "$begin" "$page" || { echo "claims: $page has no line $begin" >&2; exit 65; }
made=$(mktemp)
trap 'rm -f "$made"' EXIT
for run in "${runs[@]}"; do
  name=${run#"$claims"/}
  sed "s|^|${name%/values.csv},|" "$run"
done | sort | awk -F, -v figures="$figures" '
  function quantile(n) { split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201", t, " "); return n < 2 ? 0 : n > 12 ? 2 : t[n - 1] }
  { if (!($1 in known)) { known[$1] = 1; run[++runs] = $1; split($1, part, "/"); if (!(part[1] in seeds)) { seeds[part[1]] = 1; ++populations } if (!(part[2] in helds)) { helds[part[2]] = 1; ++subjects } }
    value[$1, $2, $3] = $4; has[$2, $3] = 1 }
  function gather(condition, score, other,    i, n, x) {  # mean, half, count; of the differences where other is given
    n = total = square = 0
    for (i = 1; i <= runs; ++i) if ((run[i], condition, score) in value && (other == "" || (run[i], other, score) in value)) {
      x = value[run[i], condition, score] - (other == "" ? 0 : value[run[i], other, score])
      total += x; square += x * x; ++n
    }
    count = n; mean = n ? total / n : 0
    half = n > 1 ? quantile(n) * sqrt((square - n * mean * mean > 0 ? square - n * mean * mean : 0) / (n - 1) / n) : 0
  }
  function cell(condition, score) {
    if (!((condition, score) in has)) return ""
    gather(condition, score, "")
    return count < 2 ? sprintf("%.3f", mean) : sprintf("%.3f ± %.3f", mean, half)
  }
  function row(text, condition, scores,    n, s, i, line, any) {  # none where nothing was measured
    n = split(scores, s, " "); line = "| " text " |"; any = 0
    for (i = 1; i <= n; ++i) { line = line " " cell(condition, s[i]) " |"; any += (condition, s[i]) in has }
    if (any) { printf "%s", heading; heading = ""; print line }
  }
  function head(title, scores,    n, s, i, line, rule) {
    n = split(scores, s, " "); line = "| " title " |"; rule = "|---|"
    for (i = 1; i <= n; ++i) { line = line " " s[i] " |"; rule = rule "---|" }
    heading = "\n" line "\n" rule "\n"  # printed before its first row
  }
  function compare(text, a, b, score, why) {  # the paper finds A ahead of B
    if (!((a, score) in has) || !((b, score) in has)) return
    gather(a, score, b)
    verdict = (mean - half > 0) ? "the paper’s direction." : (mean + half < 0) ? "**against the paper.** " why : "no difference shown. " why
    if (count < 2) printf("- %s (%s): %+.3f, one run, no interval.\n", text, score, mean)
    else printf("- %s (%s): %+.3f ± %.3f, %d runs: %s\n", text, score, mean, half, count, verdict)
  }
  function figure(file, title, axis, series, points,    nseries, s, names, i, k, p, n, m, all, x, y, path, out, colour, label) {
    out = figures "/" file; nseries = split(series, names, ";"); m = split(points, all, " "); n = 0
    for (k = 1; k <= m; ++k) for (s = 1; s <= nseries; ++s) {  # the points that were measured
      split(names[s], label, ":")
      if (((label[1] "_" all[k], "image_retrieval") in has) && (!n || p[n] != all[k])) p[++n] = all[k]
    }
    colour[1] = "#1f5fa8"; colour[2] = "#c2571a"
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 480 300\" font-family=\"sans-serif\" font-size=\"12\"><rect width=\"480\" height=\"300\" fill=\"#fff\"/>\n<text x=\"60\" y=\"20\" font-size=\"14\">%s</text>\n", title > out
    for (i = 0; i <= 5; ++i) printf "<line x1=\"60\" x2=\"460\" y1=\"%d\" y2=\"%d\" stroke=\"#ddd\"/><text x=\"52\" y=\"%d\" text-anchor=\"end\">%.1f</text>\n", 250 - 44 * i, 250 - 44 * i, 254 - 44 * i, i / 5 > out
    for (k = 1; k <= n; ++k) printf "<text x=\"%d\" y=\"268\" text-anchor=\"middle\">%s</text>\n", 60 + 400 * (k - .5) / n, p[k] > out
    printf "<text x=\"260\" y=\"290\" text-anchor=\"middle\">%s</text>\n", axis > out
    for (s = 1; s <= nseries; ++s) {
      split(names[s], label, ":"); path = ""
      for (k = 1; k <= n; ++k) {
        if (!((label[1] "_" p[k], "image_retrieval") in has)) continue
        gather(label[1] "_" p[k], "image_retrieval", ""); x = 60 + 400 * (k - .5) / n; y = 250 - 220 * mean
        path = path (path == "" ? "M" : "L") sprintf("%.1f %.1f", x, y)
        printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x, x, 250 - 220 * (mean - half), 250 - 220 * (mean + half), colour[s], x, y, colour[s] > out
      }
      printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/><text x=\"70\" y=\"%d\" fill=\"%s\">%s</text>\n", path, colour[s], 28 + 15 * s, colour[s], label[2] > out
    }
    print "</svg>" > out; close(out)
  }
  END {
    printf "%d runs: %d populations (seeds), %d of their subjects held out. A figure is the mean over runs ± the half width of its 95 %% t interval over runs.\n", runs, populations, subjects
    print "\n### Sessions, with and without pretraining\n\n![Image retrieval by number of sessions](claims-sessions.svg)"
    both = "image_retrieval brain_retrieval"
    head("trained on", both)
    split("1 2 4 10 12", c, " ")
    for (i = 1; i <= 5; ++i) { sessions = c[i] (c[i] == 1 ? " session" : " sessions"); row(sessions ", from scratch", "scratch_" c[i], both); row(sessions ", after pretraining", "tuned_" c[i], both) }
    row("1 session, closed-form ridge to the tokens", "ridge", both)
    print ""
    for (i = 1; i <= 5; ++i) compare(c[i] (c[i] == 1 ? " session" : " sessions") ": pretraining beats scratch", "tuned_" c[i], "scratch_" c[i], "image_retrieval", i < 4 ? "" : "So many trials leave little for the other subjects to add.")
    compare("1 session, pretrained, beats the closed-form ridge", "tuned_1", "ridge", "image_retrieval", "A ridge from voxels is a strong baseline where responses are nearly linear in the image tokens, as simulated.")
    figure("claims-sessions.svg", "Image retrieval (top-1) by number of sessions", "sessions of the subject held out", "scratch:from scratch;tuned:after pretraining", "1 2 4 10 12")
    print "\n### Number of pretraining subjects\n\n![Image retrieval by number of pretraining subjects](claims-subjects.svg)"
    head("one session, pretrained on", both)
    row("none", "scratch_1", both); row("1 subject", "tuned_by_1", both); row("2 subjects", "tuned_by_2", both); row("all others", "tuned_1", both)
    print ""
    compare("all others beat one", "tuned_1", "tuned_by_1", "image_retrieval", "The number of steps is the same for each number of subjects; so is what one subject’s trials can teach of a simulated world.")
    figure("claims-subjects.svg", "Image retrieval (top-1) after one session", "subjects pretrained on", "tuned_by:one session of the subject held out", "0 1 2 3 4")
    print "\n### The map of a subject\n\nThe MLP map is MindEye1’s, linear, layer norm, GELU, dropout .5, which the paper’s ablation goes back to (10 sessions, from scratch)."
    head("map", both)
    for (i = 1; i <= 2; ++i) { n = i == 1 ? 1 : 10; text = n (n == 1 ? " session" : " sessions") ", from scratch"; row(text ", linear", "scratch_" n, both); row(text ", MLP", "map_scratch_" n, both) }
    row("1 session, after pretraining, linear", "tuned_1", both); row("1 session, after pretraining, MLP", "map_tuned_1", both)
    print ""
    compare("the linear map beats the MLP map, 10 sessions from scratch", "scratch_10", "map_scratch_10", "image_retrieval", "")
    compare("the linear map beats the MLP map, 1 session from scratch", "scratch_1", "map_scratch_1", "image_retrieval", "")
    compare("the linear map beats the MLP map, 1 session after pretraining", "tuned_1", "map_tuned_1", "image_retrieval", "")
    some = "image_retrieval caption_category pixcorr"
    print "\n### Submodules\n\nFrom scratch on all sessions. *drawn*: by the tokens the prior draws; *low-level*: pictures of the low-level head."
    head("trained", some)
    split("prior prior_lowlevel retrieval retrieval_lowlevel prior_retrieval all_modules", m, " ")
    for (i = 1; i <= 6; ++i) { text = m[i]; gsub("_", " + ", text); if (m[i] == "all_modules") text = "all three"; row(text, m[i], some); row(text ": drawn", m[i] "+drawn", some); row(text ": low-level", m[i] "+lowlevel", some) }
    print ""
    compare("prior + retrieval beats the prior alone, by what is drawn", "prior_retrieval+drawn", "prior+drawn", "image_retrieval", "The contrastive loss pulls at the same backbone; with so few trials the prior’s own loss already says as much.")
    compare("all three beat the prior alone, in captions", "all_modules", "prior", "caption_category", "")
    compare("all three beat retrieval alone", "all_modules", "retrieval", "image_retrieval", "The paper, too, finds retrieval best when trained for alone or with the prior.")
    pictures = "recon_category recon_colour pixcorr tower_two_way caption_category image_retrieval"
    print "\n### Pictures: refinement, captions, floors and ceiling"
    head("all sessions, pretrained with all modules", pictures)
    row("reconstruction", "whole_own", pictures); row("refined, predicted caption", "refined", pictures); row("refined, empty caption", "refined_empty", pictures)
    row("shuffled brain", "whole_shuffled", pictures); row("mean brain", "whole_mean", pictures); row("true tokens", "whole_true", pictures)
    print ""
    compare("refined beats unrefined", "refined", "whole_own", "recon_category", "The refiner takes away from what the decoder got right already ([tiny](tiny.md)).")
    compare("the predicted caption beats the empty one", "refined", "refined_empty", "recon_category", "")
    compare("reconstructions beat the shuffled brain’s", "whole_own", "whole_shuffled", "recon_category", ""); compare("reconstructions beat the shuffled brain’s", "whole_own", "whole_shuffled", "pixcorr", "")
    compare("reconstructions beat the mean brain’s", "whole_own", "whole_mean", "pixcorr", ""); compare("true tokens beat predicted ones", "whole_true", "whole_own", "recon_category", "")
  }' > "$made"
awk -v begin="$begin" -v end="$end" -v made="$made" '
  $0 == begin { print; print ""; while ((getline line < made) > 0) print line; print ""; skip = 1 }
  $0 == end { skip = 0 }
  !skip { print }' "$page" > "$page.new"
mv "$page.new" "$page"
