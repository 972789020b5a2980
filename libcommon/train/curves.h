// The record of a training: one row per epoch, as CSV and as an SVG of curves. Both are functions of the rows alone.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace me2::train {

using CurveRow = std::vector<std::pair<std::string, double>>;  // NaN: not measured in this epoch (empty in the CSV)

std::string curves_csv(const std::vector<CurveRow>& rows);
// Three panels over epochs: loss parts (logarithmic), retrieval accuracies, and the learning rate (logarithmic).
std::string curves_svg(const std::vector<CurveRow>& rows, const std::string& title);
Json curves_json(const std::vector<CurveRow>& rows);   // for the resume file; NaN as null
std::vector<CurveRow> curves_from(const Json& json);

}  // namespace me2::train
