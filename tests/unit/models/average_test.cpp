#include "models/average.h"

#include <gtest/gtest.h>

namespace me2::models {
namespace {

// The reference's evaluation takes three repeats; where an image was shown once or twice, the first showing is counted again.
TEST(AverageRows, OneRepeatCountsThriceTwoAsAAndABAndMoreAreAllTaken) {
  const auto rows = average_rows({9, 4, 7, 4, 2, 2, 2, 2}, Average::repeats);
  std::vector<std::int32_t> stimuli;
  std::vector<std::vector<std::int64_t>> trials;
  std::vector<std::int64_t> distinct;
  for (const auto& row : rows) stimuli.push_back(row.stimulus), trials.push_back(row.trials), distinct.push_back(row.distinct);
  EXPECT_EQ(stimuli, (std::vector<std::int32_t>{2, 4, 7, 9}));
  EXPECT_EQ(trials, (std::vector<std::vector<std::int64_t>>{{4, 5, 6, 7}, {1, 1, 3}, {2, 2, 2}, {0, 0, 0}}));
  EXPECT_EQ(distinct, (std::vector<std::int64_t>{4, 2, 1, 1}));
}

TEST(AverageRows, NoneKeepsEveryTrialInItsPlace) {
  const auto rows = average_rows({9, 4, 9}, Average::none);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2].stimulus, 9);
  EXPECT_EQ(rows[2].trials, std::vector<std::int64_t>{2});
}

}  // namespace
}  // namespace me2::models
