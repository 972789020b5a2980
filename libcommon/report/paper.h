// Figures of the MindEye2 paper (Scotti et al. 2024, Table 1; captions of subject 1 from Table 2), for the column beside ours.
#pragma once
#include <optional>
#include <string>

namespace me2::report {

inline constexpr const char* kPaperSource = "Scotti et al. 2024, Table 1; captions: subject 1, Table 2";

// setting "40" or "1" (sessions); nothing for other settings or scores the paper does not give. Fractions.
std::optional<double> paper_figure(const std::string& setting, const std::string& score);

}  // namespace me2::report
