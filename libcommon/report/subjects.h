// Several subjects scored as one: each alone, and their mean with an interval that speaks about other subjects too.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "metrics/bootstrap.h"
#include "report/scores.h"

namespace me2::report {

// Scores: for every score that some subject has, the mean over subjects of its value (of those where it is defined), likewise its
// details, with `subjects` (how many) and `subjects_sd` (sample standard deviation of their values); so for splits and baselines. Interval:
// metrics::hierarchical on per_image (or `drawn`), subjects and then images within each; of one subject, that subject's own. ids: of all, each once; notes and
// not_run of subjects that differ are told with the subject's name. `subjects` holds what was given. Exit::usage for no subject, or two of one name.
Scores mean_over_subjects(std::vector<std::pair<std::string, Scores>> subjects, const metrics::BootstrapOptions& options);

// Labels of subjects: as `given` (one for each path; Exit::usage otherwise), else what each store says (attribute `subject`, or --subject of
// a command in its provenance), else the name of the file. Exit::usage for a label that is there twice.
std::vector<std::string> subject_labels(const std::vector<std::string>& paths, const std::vector<std::string>& given);

}  // namespace me2::report
