// Two-alternative forced choice: a page that asks people which of two pictures is more like a third, and what their answers say.
// The paper's 97.82% (reconstruction against another image's reconstruction) and 71.94% (refined against unrefined) come from such a test.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "report/scores.h"

namespace me2::report {

struct PreferenceOptions {
  std::string run, against, truth;  // image sets (report/image_set.h); against: empty, or the run to compare with
  bool random = true;               // trials of a reconstruction against that of another image, drawn at random
  bool allow_missing = false;
  std::int64_t trials = 0;          // images asked about, of each kind; 0: all
  std::int64_t checks = 5;          // attention checks: the picture itself against another one
  std::int64_t pixels = 256;        // largest side of a picture
  std::string title = "Which picture is more alike?";
  std::uint64_t seed = 42;          // images, sides and order
};

// One self-contained HTML file that works from disk. It saves a CSV with the columns
// rater,survey,trial,kind,image,left,right,chosen,ms: kind is random, against or check; left and right say "run" or "other"; chosen is left or right.
std::string preference_page(const PreferenceOptions& options);

// Answer files of one survey: per kind the share that chose the run (raters who failed the checks left out), exact two-sided binomial p
// (details.p) and a 95% interval that resamples raters (BCa); with one rater, the exact binomial (Clopper-Pearson) interval.
// Exit::data naming file and line for answers that are not such, or given twice, and for answers to another survey.
Scores score_preference(const std::vector<std::string>& files, double least_checks, std::int64_t resamples, std::uint64_t seed, int threads);

double binomial_p(std::int64_t chosen, std::int64_t n);  // two-sided, against 1/2

}  // namespace me2::report
