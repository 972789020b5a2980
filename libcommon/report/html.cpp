#include "report/html.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/svg.h"

namespace me2::report {
namespace {

// Colours follow the reader's light or dark setting; the print rules keep cards whole and drop the controls.
constexpr const char* kStyle = R"css(
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent);--soft:color-mix(in srgb,currentColor 6%,transparent)}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:0 auto;padding:1rem;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0}h2{font-size:1.2rem;margin:1.6em 0 .5em;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1em 0 .4em}
.note{border-left:4px solid #c0842b;padding:.3em .8em;background:var(--soft);margin:.5em 0;overflow-wrap:anywhere;font-size:.85rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid var(--line);vertical-align:top}
th{font-size:.85rem}th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}tr{break-inside:avoid}thead{display:table-header-group}
table.side{width:auto;min-width:min(100%,36rem)}.means{display:none}summary{cursor:pointer;margin:1em 0 .4em;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:.8rem}
.card{border:1px solid var(--line);border-radius:8px;padding:.5rem;break-inside:avoid;min-width:0}
.row figcaption{letter-spacing:-.01em}.row{display:grid;gap:.3rem;grid-template-columns:repeat(auto-fit,minmax(84px,1fr))}figure{margin:0;min-width:0;max-width:160px}figcaption{font-size:.75rem;opacity:.8}
img{width:100%;height:auto;image-rendering:auto;border-radius:4px;display:block}
.card p{margin:.4em 0 0;font-size:.85rem}.small{font-size:.85rem;opacity:.85}.nums span{white-space:nowrap}
.found{display:grid;grid-template-columns:repeat(6,minmax(40px,96px));gap:.4rem;align-items:start;margin:.6rem 0}.found figure{min-width:0;overflow-wrap:anywhere}
.found .right img{outline:3px solid #2e8b57}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1rem}.charts svg{width:100%;max-width:560px}
svg{max-width:100%;height:auto}pre{background:var(--soft);padding:.8rem;overflow-x:auto;font-size:.8rem;border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}
select{font:inherit;padding:.3em;max-width:100%}:focus-visible{outline:3px solid #3d7ea6;outline-offset:2px}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:10pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}.controls{display:none}
h2,h3,summary{break-after:avoid}.scroll{overflow:visible}.cards{grid-template-columns:repeat(2,1fr)}.row{grid-template-columns:repeat(auto-fit,minmax(48px,1fr))}.row figcaption{font-size:.6rem}.charts{grid-template-columns:1fr}.charts>div,.found,figure{break-inside:avoid}.charts svg{max-height:11cm}}
@media screen and (max-width:480px){body{padding:.6rem;font-size:14px}.cards{grid-template-columns:1fr}th.opt,td.opt{display:none}.means{display:block;font-size:.85rem;opacity:.85}
th,td{padding:.3em .35em}.row figcaption{font-size:.69rem}}
)css";

// Sorting the cards, and unfolding what is folded for a printout, are the page's only script.
constexpr const char* kScript = R"js(
const order=document.getElementById('order');
if(order)order.addEventListener('change',()=>{const g=document.getElementById('all');const [k,d]=order.value.split('|');
[...g.children].sort((a,b)=>k==='id'?a.dataset.row-b.dataset.row:(Number(a.dataset[k])-Number(b.dataset[k]))*d).forEach(c=>g.appendChild(c))});
addEventListener('beforeprint',()=>document.querySelectorAll('details:not(.bulk)').forEach(d=>d.open=true));
)js";

std::string number(double v) { return std::isfinite(v) ? fmt::format("{:.3f}", v) : "undefined"; }

// data-* keys are lower case letters and digits only: pixcorr -> pixcorr, clip_b -> clipb.
std::string key(const std::string& name) {
  std::string out;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c))) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string label_of(const ReportPage& page, const std::string& name) {
  for (const auto& s : page.scores)
    if (s.name == name && !s.label.empty()) return s.label;
  return name;
}

std::string card(const ReportPage& page, const ReportCard& c, std::size_t row) {
  std::string out = fmt::format("<article class=\"card\" data-row=\"{}\"", row);
  for (const auto& [name, value] : c.scores)
    if (std::isfinite(value)) out += fmt::format(" data-{}=\"{:.6g}\"", key(name), value);
  out += "><div class=\"row\">";
  for (const auto& p : c.pictures)
    out += fmt::format("<figure><img loading=\"lazy\" alt=\"{} of {}\" src=\"{}\"><figcaption>{}</figcaption></figure>", escape(p.label), escape(c.id), p.data_uri, escape(p.label));
  out += "</div>";
  if (!c.caption.empty()) out += "<p>&ldquo;" + escape(c.caption) + "&rdquo;</p>";
  if (!c.reference.empty()) out += "<p class=\"small\">reference: " + escape(c.reference) + "</p>";
  out += "<p class=\"small nums\"><span>stimulus " + escape(c.id) + "</span>";
  for (const auto& [name, value] : c.scores) out += " &middot; <span>" + escape(label_of(page, name)) + " " + number(value) + "</span>";
  return out + "</p></article>\n";
}

std::string score_table(const ReportPage& page) {
  const bool paper = std::any_of(page.scores.begin(), page.scores.end(), [](const auto& s) { return s.paper.has_value(); });
  std::string out = "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">score</th><th class=\"n\" scope=\"col\">value</th><th class=\"n\" scope=\"col\">95% interval</th>";
  if (paper) out += "<th class=\"n\" scope=\"col\">paper</th>";
  out += "<th class=\"n opt\" scope=\"col\">images</th><th class=\"opt\" scope=\"col\">what it says</th></tr></thead><tbody>\n";
  for (const auto& s : page.scores) {
    out += fmt::format("<tr><td>{}{}<span class=\"means\">{}</span></td><td class=\"n\">{}</td><td class=\"n\">", escape(s.label), s.lower_is_better ? " &darr;" : "",
                       escape(s.meaning), number(s.value));
    if (s.low && s.high) out += number(*s.low) + " &ndash; " + number(*s.high);
    out += "</td>";
    if (paper) out += "<td class=\"n\">" + (s.paper ? number(*s.paper) : "") + "</td>";
    out += fmt::format("<td class=\"n opt\">{}</td><td class=\"opt small\">{}</td></tr>\n", s.n, escape(s.meaning));
  }
  out += "</tbody></table></div>\n";
  if (std::any_of(page.scores.begin(), page.scores.end(), [](const auto& s) { return s.lower_is_better; })) out += "<p class=\"small\">&darr; lower is better; all others: higher is better.</p>\n";
  if (std::any_of(page.scores.begin(), page.scores.end(), [](const auto& s) { return s.meaning.find("(people ") != std::string::npos; }))
    out += "<p class=\"small\">people: correlation of the score with how alike 22 raters found 1,000 pairs of image and MindEye2 reconstruction (SEED, ICLR 2026); 1 would be "
           "agreement. Of the others it is not known.</p>\n";
  std::string not_run;
  for (const auto& [metric, needs] : page.not_run) not_run += (not_run.empty() ? "not run: " : "<br>not run: ") + escape(metric) + " (" + escape(needs) + ")";
  if (!not_run.empty()) out += "<p class=\"small\">" + not_run + "</p>\n";
  return out;
}

std::string table(const ReportTable& t) {
  std::string out = t.folded ? "<details class=\"bulk\"><summary>" + escape(t.title) + "</summary>" : "<h2>" + escape(t.title) + "</h2>\n";
  if (!t.text.empty()) out += "<p class=\"small\">" + escape(t.text) + "</p>\n";
  // A column is set to the right when all of it are numbers.
  const auto numeric = [&](std::size_t c) {
    return c > 0 && std::all_of(t.rows.begin(), t.rows.end(), [&](const auto& row) { return row[c].find_first_not_of("+-.0123456789") == std::string::npos; });
  };
  out += "<div class=\"scroll\"><table class=\"side\"><thead><tr>";
  for (std::size_t c = 0; c < t.head.size(); ++c) out += fmt::format("<th{} scope=\"col\">{}</th>", numeric(c) ? " class=\"n\"" : "", escape(t.head[c]));
  out += "</tr></thead><tbody>\n";
  for (const auto& row : t.rows) {
    out += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) out += fmt::format("<td{}>{}</td>", numeric(c) ? " class=\"n\"" : "", escape(row[c]));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>" + (t.folded ? "</details>\n" : "\n");
}

std::string extremes(const ReportPage& page) {
  std::vector<std::pair<double, const ReportCard*>> ranked;
  for (const auto& c : page.cards)
    for (const auto& [name, value] : c.scores)
      if (name == page.sort_by && std::isfinite(value)) ranked.emplace_back(value, &c);
  if (ranked.size() < 3) return "";
  const bool lower = std::any_of(page.scores.begin(), page.scores.end(), [&](const auto& s) { return s.name == page.sort_by && s.lower_is_better; });
  std::stable_sort(ranked.begin(), ranked.end(), [&](const auto& a, const auto& b) { return lower ? a.first < b.first : a.first > b.first; });
  const std::size_t n = ranked.size(), k = std::min<std::size_t>(3, n / 3);
  std::string out = "<h2>Best, median and worst by " + escape(label_of(page, page.sort_by)) + "</h2>\n";
  const auto group = [&](const char* name, std::size_t first) {
    out += fmt::format("<h3>{}</h3><div class=\"cards\">", name);
    for (std::size_t i = first; i < first + k; ++i) out += card(page, *ranked[i].second, i);
    out += "</div>\n";
  };
  group("Best", 0), group("Median", (n - k) / 2), group("Worst", n - k);
  return out;
}

}  // namespace

std::string data_uri(const std::string& mime, const std::string& bytes) {
  static constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:" + mime + ";base64,";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    const auto byte = [&](std::size_t k) { return k < left ? static_cast<unsigned>(static_cast<unsigned char>(bytes[i + k])) : 0u; };
    const unsigned value = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += digits[value >> 18];
    out += digits[value >> 12 & 63];
    out += left > 1 ? digits[value >> 6 & 63] : '=';
    out += left > 2 ? digits[value & 63] : '=';
  }
  return out;
}

std::string render_page(const ReportPage& page) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                    "<title>" + escape(page.title) + "</title><style>" + kStyle + "</style></head><body>\n";
  out += "<h1>" + escape(page.title) + "</h1>\n<p>" + escape(page.setting) + "</p>\n";
  out += "<h2>Scores</h2>\n" + score_table(page);
  if (!page.notes.empty()) {  // what a reader of the numbers must know, out of the way of a reader of the pictures
    out += fmt::format("<details{}><summary>{} notes on these scores</summary>", page.notes.size() <= 3 ? " open" : "", page.notes.size());
    for (const auto& note : page.notes) out += "<p class=\"note\">" + escape(note) + "</p>\n";
    out += "</details>\n";
  }
  for (const auto& t : page.tables) out += table(t);
  out += extremes(page);
  if (!page.retrieval.empty()) {
    out += "<h2>Retrieval</h2>\n<p class=\"small\">Left: what the person saw. Right of it: the images whose embeddings lie closest to the brain's, best first; the right one is framed.</p>\n";
    for (const auto& r : page.retrieval) {
      out += fmt::format("<div class=\"found\"><figure><img alt=\"stimulus {0}\" src=\"{1}\"><figcaption>stimulus {0}</figcaption></figure>", escape(r.query_label), r.query_uri);
      for (std::size_t k = 0; k < r.found.size(); ++k) {
        const auto& [uri, right] = r.found[k];
        out += fmt::format("<figure{}><img alt=\"found in place {}{}\" src=\"{}\"><figcaption>{}{}</figcaption></figure>", right ? " class=\"right\"" : "", k + 1,
                           right ? ", the right one" : "", uri, k + 1, right ? " right" : "");
      }
      out += "</div>\n";
    }
  }
  if (!page.charts.empty()) {
    out += "<h2>Figures</h2>\n<div class=\"charts\">";
    for (const auto& chart : page.charts) out += "<div>" + chart + "</div>\n";
    out += "</div>\n";
  }
  if (!page.cards.empty()) {
    out += "<h2>Every stimulus</h2>\n<p class=\"controls\"><label>Order <select id=\"order\"><option value=\"id|1\">as tested</option>";
    for (const auto& [name, value] : page.cards.front().scores)
      out += fmt::format("<option value=\"{0}|-1\">{1}, highest first</option><option value=\"{0}|1\">{1}, lowest first</option>", key(name), escape(label_of(page, name)));
    out += "</select></label></p>\n<div class=\"cards\" id=\"all\">\n";
    for (std::size_t i = 0; i < page.cards.size(); ++i) out += card(page, page.cards[i], i);
    out += "</div>\n";
  }
  if (!page.commands.empty()) {
    out += "<h2>How to get these numbers again</h2>\n<pre>";
    for (const auto& command : page.commands) out += escape(command) + "\n";
    out += "</pre>\n";
  }
  if (!page.provenance.empty()) out += "<details class=\"bulk\"><summary>Full provenance</summary><pre>" + escape(page.provenance) + "</pre></details>\n";
  return out + "<script>" + kScript + "</script></body></html>\n";
}

}  // namespace me2::report
