#include "ingest/ingest.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"

namespace me2::ingest {

namespace fs = std::filesystem;

void refuse_overlap(const std::string& input, const std::string& output) {
  std::error_code error;
  const fs::path in = fs::weakly_canonical(input, error), out = fs::weakly_canonical(output, error);
  const auto inside = [](const fs::path& inner, const fs::path& outer) {
    auto i = inner.begin();
    for (const auto& part : outer) {
      if (part.empty()) continue;  // trailing slash
      if (i == inner.end() || *i != part) return false;
      ++i;
    }
    return true;
  };
  const auto refuse = [](const std::string& why) { return Error(Exit::cant_create, why); };
  if (in == out) throw refuse(fmt::format("{}: the output is the input", output));
  if (fs::is_directory(in) && inside(out, in)) throw refuse(fmt::format("{}: the output lies inside the input {}", output, input));
  if (inside(in, out)) throw refuse(fmt::format("{}: the input {} lies inside the output", output, input));
}

std::string subject_id(int subject) {
  if (subject < 1 || subject > 99) throw usage_error("--subject {}: a number from 1 to 99 was expected", subject);
  return fmt::format("subj{:02}", subject);
}

bool BetaCheck::row(const float* betas) {
  const std::size_t n = first_.size();
  if (rows_++ == 0) std::copy_n(betas, n, first_.begin());
  int bad = 0;
  for (std::size_t v = 0; v < n; ++v) {
    bad |= !(std::abs(betas[v]) <= 3.4e38f);
    changed_[v] |= betas[v] != first_[v];
  }
  if (!bad) return true;
  for (std::size_t v = 0; v < n; ++v)
    if (!std::isfinite(betas[v])) ++bad_[v], ++bad_values_;
  return false;
}

std::int64_t BetaCheck::constant_voxels() const {
  std::int64_t n = 0;
  for (const std::uint8_t c : changed_) n += !c;
  return rows_ > 1 ? n : 0;
}

std::vector<std::uint8_t> BetaCheck::never_seen() const {
  std::vector<std::uint8_t> out;
  for (const std::int32_t b : bad_) out.push_back(rows_ > 0 && b == rows_);
  return out;
}

std::string nan_summary(std::span<const std::int16_t> session, std::span<const std::int64_t> values) {
  std::map<int, NanCount> by_session;
  for (std::size_t i = 0; i < session.size(); ++i)
    if (values[i] > 0) {
      by_session[session[i]].values += values[i];
      ++by_session[session[i]].trials;
    }
  std::string text;
  int shown = 0;
  for (const auto& [s, n] : by_session) {
    if (++shown > 8) {
      text += fmt::format("; and {} more sessions", by_session.size() - 8);
      break;
    }
    text += fmt::format("{}session {}: {} values in {} trial{}", text.empty() ? "" : "; ", s, n.values, n.trials, n.trials == 1 ? "" : "s");
  }
  return text;
}

void check_disjoint(const store::Trials& trials, const std::string& where) {
  std::set<std::int32_t> train, both;
  for (std::size_t i = 0; i < trials.stimulus.size(); ++i)
    if (trials.split[i] == 0) train.insert(trials.stimulus[i]);
  for (std::size_t i = 0; i < trials.stimulus.size(); ++i)
    if (trials.split[i] == 1 && train.contains(trials.stimulus[i])) both.insert(trials.stimulus[i]);
  if (!both.empty())
    throw data_error("{}: {} test image{} also among the training images (first: stimulus {}); the splits must not share images", where, both.size(),
                     both.size() == 1 ? " is" : "s are", *both.begin());
}

}  // namespace me2::ingest
