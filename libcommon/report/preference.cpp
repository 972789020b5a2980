#include "report/preference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "metrics/bootstrap.h"
#include "report/image_set.h"
#include "report/svg.h"
#include "store/table.h"

namespace me2::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

constexpr const char* kPage = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>@TITLE@</title><style>
:root{color-scheme:light dark}*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:900px;margin:0 auto;padding:1rem;text-align:center}
h1{font-size:1.3rem;margin:.2em}[hidden]{display:none!important}img{width:100%;max-width:min(320px,34vh);height:auto;border-radius:6px;display:block;margin:auto}
.two{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin-top:1rem}button{font:inherit;padding:.6rem;border:2px solid color-mix(in srgb,currentColor 30%,transparent);border-radius:10px;background:none;color:inherit;cursor:pointer}
button:hover,button:focus-visible{border-color:#2a6fdb;outline:none}input{font:inherit;padding:.5rem;width:14rem}textarea{width:100%;height:10rem;font:13px monospace}progress{width:100%}
</style></head><body><h1>@TITLE@</h1>
<section id="start"><p>You will see one picture above two others, @COUNT@ times. Choose the lower picture that is more like the upper one: what is in it
and how it is arranged. There is no time limit. Use the mouse, a finger, or the arrow keys.</p><form id="form"><p><label>Your name or code
<input id="rater" required pattern="[^,&quot;]+" autocomplete="off"></label></p><button>Start</button></form></section>
<section id="ask" hidden><progress id="done" max="1" value="0"></progress><p id="count" aria-live="polite"></p><img id="truth" alt="the picture to compare with">
<div class="two"><button id="left" aria-label="the left picture"><img id="l" alt="left"></button><button id="right" aria-label="the right picture"><img id="r" alt="right"></button></div></section>
<section id="end" hidden><p>Thank you. Please save your answers and send the file back.</p><p><a id="save"><button>Save answers</button></a></p>
<p>If that does not work, copy this text:</p><textarea id="text" readonly></textarea></section>
<script type="application/json" id="survey">@SURVEY@</script><script>
const s=JSON.parse(document.getElementById('survey').textContent),$=i=>document.getElementById(i);
let at=0,since=0,rater='',rows=['rater,survey,trial,kind,image,left,right,chosen,ms'];
const quote=t=>/[",\r\n]/.test(t)?'"'+t.replace(/"/g,'""')+'"':t;
function show(){if(at>=s.trials.length)return finish();const t=s.trials[at];$('truth').src=s.pictures[t.truth];$('l').src=s.pictures[t.left];$('r').src=s.pictures[t.right];
$('count').textContent=(at+1)+' of '+s.trials.length;$('done').value=at/s.trials.length;since=performance.now()}
function choose(side){if($('ask').hidden)return;const t=s.trials[at];rows.push([rater,s.id,at,t.kind,quote(t.image),t.run==='left'?'run':'other',t.run==='left'?'other':'run',side,Math.round(performance.now()-since)].join(','));at++;show()}
function finish(){$('ask').hidden=true;$('end').hidden=false;const text=rows.join('\n')+'\n';$('text').value=text;
$('save').href=URL.createObjectURL(new Blob([text],{type:'text/csv'}));$('save').download='answers-'+s.id+'-'+rater.replace(/[^A-Za-z0-9_-]/g,'_')+'.csv'}
$('form').addEventListener('submit',e=>{e.preventDefault();rater=$('rater').value.trim();if(!rater)return;$('start').hidden=true;$('ask').hidden=false;show()});
$('left').addEventListener('click',()=>choose('left'));$('right').addEventListener('click',()=>choose('right'));
addEventListener('keydown',e=>{if(e.key==='ArrowLeft')choose('left');if(e.key==='ArrowRight')choose('right')});
</script></body></html>
)html";

void put(std::string& page, const std::string& mark, const std::string& text) {
  for (std::size_t at = 0; (at = page.find(mark, at)) != std::string::npos; at += text.size()) page.replace(at, mark.size(), text);
}

double log_choose(std::int64_t n, std::int64_t k) { return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0); }

double upper_tail(std::int64_t k, std::int64_t n, double p) {  // P(X >= k)
  if (k <= 0) return 1;
  double sum = 0;
  for (std::int64_t i = k; i <= n; ++i) sum += std::exp(log_choose(n, i) + static_cast<double>(i) * std::log(p) + static_cast<double>(n - i) * std::log1p(-p));
  return std::min(1.0, sum);
}

// Clopper & Pearson 1934.
std::pair<double, double> exact_interval(std::int64_t k, std::int64_t n) {
  const auto solve = [&](auto&& below) {
    double low = 0, high = 1;
    for (int i = 0; i < 60; ++i) (below((low + high) / 2) ? low : high) = (low + high) / 2;
    return (low + high) / 2;
  };
  return {k == 0 ? 0 : solve([&](double p) { return upper_tail(k, n, p) < 0.025; }), k == n ? 1 : solve([&](double p) { return 1 - upper_tail(k + 1, n, p) > 0.025; })};
}

struct Tally {
  std::int64_t run = 0, n = 0;
};

}  // namespace

double binomial_p(std::int64_t chosen, std::int64_t n) { return n == 0 ? kNaN : std::min(1.0, 2 * upper_tail(std::max(chosen, n - chosen), n, 0.5)); }

std::string preference_page(const PreferenceOptions& o) {
  const auto run = ImageSet::open(o.run), truth = ImageSet::open(o.truth);
  std::vector<Keys> keys{keys_of(truth), keys_of(run)};
  std::vector<ImageSet> sets{truth, run};
  if (!o.against.empty()) sets.push_back(ImageSet::open(o.against)), keys.push_back(keys_of(sets.back()));
  const auto joined = join(keys, o.allow_missing);
  const auto n = static_cast<std::int64_t>(joined.ids.size());
  if (n < 2) throw data_error("{}: {} image in common with {}: two or more expected, so that there is another one to show", o.run, n, o.truth);
  if (!o.random && o.against.empty()) throw usage_error("nothing to ask: random trials, or a run to compare with, expected");

  Random random(o.seed, "preference");
  Json survey{{"id", ""}, {"pictures", Json::array()}, {"trials", Json::array()}};
  std::map<std::pair<int, std::int64_t>, std::size_t> places;
  const auto picture = [&](int set, std::int64_t image) {
    const auto [it, made] = places.emplace(std::pair{set, image}, places.size());
    if (made) survey["pictures"].push_back(picture_uri(sets[set].read({joined.rows[set][image]})[0], o.pixels));
    return it->second;
  };
  std::vector<Json> trials;
  const auto ask = [&](const char* kind, std::int64_t image, std::size_t ours, std::size_t other) {
    const bool left = random.below(2) == 0;
    trials.push_back({{"kind", kind}, {"image", joined.ids[image]}, {"truth", picture(0, image)}, {"left", left ? ours : other}, {"right", left ? other : ours}, {"run", left ? "left" : "right"}});
  };
  const auto another = [&](std::int64_t image) { return (image + 1 + static_cast<std::int64_t>(random.below(n - 1))) % n; };
  const auto some = [&](std::int64_t count) {
    std::vector<std::int64_t> images(n);
    std::iota(images.begin(), images.end(), 0);
    random.shuffle(std::span(images));
    images.resize(std::min(n, count));
    return images;
  };
  const auto count = o.trials > 0 ? o.trials : n;
  if (o.random)
    for (const auto image : some(count)) ask("random", image, picture(1, image), picture(1, another(image)));
  if (!o.against.empty())
    for (const auto image : some(count)) ask("against", image, picture(1, image), picture(2, image));
  for (const auto image : some(o.checks)) ask("check", image, picture(0, image), picture(0, another(image)));
  random.shuffle(std::span(trials));
  for (auto& trial : trials) survey["trials"].push_back(std::move(trial));
  survey["id"] = sha256(survey.dump()).substr(0, 12);

  std::string text = survey.dump();
  put(text, "<", "\\u003c");  // an id cannot end the script element
  std::string page = kPage;
  put(page, "@COUNT@", std::to_string(survey["trials"].size()));
  put(page, "@TITLE@", escape(o.title));
  page.replace(page.find("@SURVEY@"), 8, text);
  return page;
}

Scores score_preference(const std::vector<std::string>& files, double least_checks, std::int64_t resamples, std::uint64_t seed, int threads) {
  std::map<std::string, std::map<std::string, Tally>> kinds;  // kind -> rater -> answers
  std::set<std::string> raters, seen;
  std::string survey;
  for (const auto& file : files) {
    const auto table = store::Table::read(file);
    const auto rater = table.need("rater"), id = table.need("survey"), trial = table.need("trial"), kind = table.need("kind"), left = table.need("left"),
               right = table.need("right"), chosen = table.need("chosen");
    for (std::int64_t r = 0; r < table.rows(); ++r) {
      const auto where = [&](const char* what) { return data_error("{}: line {}: {}", file, table.line(r), what); };
      const auto& side = table.text(r, chosen);
      const auto &l = table.text(r, left), &g = table.text(r, right), &k = table.text(r, kind);
      if (side != "left" && side != "right") throw where("chosen: left or right expected");
      if (!((l == "run" && g == "other") || (l == "other" && g == "run"))) throw where("left and right: run on one side and other on the other expected");
      if (k != "random" && k != "against" && k != "check") throw where("kind: random, against or check expected");
      if (table.text(r, rater).empty()) throw where("no rater");
      if (survey.empty()) survey = table.text(r, id);
      if (table.text(r, id) != survey) throw where(("answers survey " + table.text(r, id) + ", the others " + survey).c_str());
      if (!seen.insert(table.text(r, rater) + "\n" + table.text(r, trial)).second) throw where("this rater answered this trial already");
      auto& tally = kinds[k][table.text(r, rater)];
      ++tally.n, tally.run += (side == "left" ? l : g) == "run";
      raters.insert(table.text(r, rater));
    }
  }
  if (raters.empty()) throw data_error("{}: no answers", files.front());
  Scores out;
  std::set<std::string> inattentive;
  for (const auto& [rater, tally] : kinds["check"])
    if (static_cast<double>(tally.run) < least_checks * static_cast<double>(tally.n)) {
      inattentive.insert(rater);
      out.notes.push_back(fmt::format("{}: {} of {} attention checks right, left out", rater, tally.run, tally.n));
    }
  if (inattentive.size() == raters.size()) throw data_error("no rater passed the attention checks");
  for (const auto& [kind, label] : {std::pair{"random", "preference_random"}, std::pair{"against", "preference_against"}}) {
    metrics::Scored scored;
    scored.columns = 2;
    scored.statistic = [](std::span<const double> means) { return means[0] / means[1]; };
    Tally all;
    for (const auto& [rater, tally] : kinds[kind]) {
      if (inattentive.contains(rater)) continue;
      scored.values.insert(scored.values.end(), {static_cast<double>(tally.run), static_cast<double>(tally.n)});
      all.run += tally.run, all.n += tally.n;
    }
    if (all.n == 0) continue;
    Score score;
    score.name = label;
    score.n = all.n, score.value = static_cast<double>(all.run) / static_cast<double>(all.n);
    if (scored.n() > 1) {
      const auto interval = metrics::bca(std::span(&scored, 1), {resamples, 0.95, seed, threads}).front();
      score.low = interval.low, score.high = interval.high, score.interval = "BCa bootstrap over raters";
    } else {
      std::tie(score.low, score.high) = exact_interval(all.run, all.n);
      score.interval = "Clopper-Pearson, one rater";
    }
    const double p = binomial_p(all.run, all.n);
    score.details = {{"chosen", static_cast<double>(all.run)}, {"p", p}, {"raters", static_cast<double>(scored.n())}, {"chance", 0.5}};
    score.note = fmt::format("{} of {} answers, {} rater{}, binomial p {:.2g}", all.run, all.n, scored.n(), scored.n() == 1 ? "" : "s", p);
    out.scores.push_back(std::move(score));
  }
  if (out.scores.empty()) throw data_error("{}: attention checks only, no answers to score", files.front());
  return out;
}

}  // namespace me2::report
