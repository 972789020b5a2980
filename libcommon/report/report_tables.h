// The report's further tables from score files: baselines and split files beside the score itself, and what each score says besides its value.
#pragma once
#include <vector>

#include "base/json_fwd.h"
#include "report/html.h"

namespace me2::report {

// Of files of me2-eval score or retrieval (--out): a score that several have counts as in the last of them.
// Only those tables that have something to show. Each row and column is explained in a line.
std::vector<ReportTable> report_tables(const std::vector<Json>& files);

}  // namespace me2::report
