// Crash safety of stage stores: resumed, sharded and interrupted writing against one uninterrupted run, byte for byte.
#include "store/stage.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/signals.h"
#include "store/digest.h"
#include "support/temp_dir.h"

namespace me2::store {
namespace {
namespace fs = std::filesystem;

constexpr std::int64_t kRows = 29, kWidth = 6;

StageSpec spec() {
  StageSpec out;
  out.kind = "tokens";
  out.stimulus.resize(kRows);
  std::iota(out.stimulus.begin(), out.stimulus.end(), 100);
  out.arrays = {{"tokens", {2, kWidth}, DType::f4, {"token", "feature"}, "1", "test tokens"},
                {"half", {kWidth}, DType::f2, {"feature"}, "1", "test halves"},
                {"caption", {}, DType::str, {}, "", "test captions"}};
  return out;
}

WriteOptions options(std::int64_t rows_per_unit = 8) {
  WriteOptions out;
  out.rows_per_unit = rows_per_unit;
  out.config_digest = "abc";
  return out;
}

void write_unit(StageWriter& out, const RowRange& unit) {
  std::vector<float> tokens(static_cast<std::size_t>(unit.count * 2 * kWidth)), half(static_cast<std::size_t>(unit.count * kWidth));
  std::vector<std::string> captions;
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<float>(unit.first * 2 * kWidth) + static_cast<float>(i) / 8;
  for (std::size_t i = 0; i < half.size(); ++i) half[i] = static_cast<float>(unit.first) + static_cast<float>(i) / 16;
  for (std::int64_t i = 0; i < unit.count; ++i) captions.push_back(fmt::format("caption {} ä", unit.first + i));
  out.write("tokens", unit, tokens.data());
  out.write("half", unit, half.data());
  out.write_strings("caption", unit, captions);
}

void write_all(StageWriter& out) {
  for (const RowRange& unit : out.pending()) write_unit(out, unit);
}

const Json& provenance() {
  static const Json json{{"tool", "test"}};
  return json;
}

std::string whole_store(const std::string& path) {
  StageWriter out(path, spec(), options());
  write_all(out);
  EXPECT_TRUE(out.publish(provenance()));
  return sha256_path(path);
}

TEST(Stage, WhatWasWrittenIsRead) {
  const test::TempDir dir;
  whole_store(dir / "a.zarr");
  const StageReader in(dir / "a.zarr");
  EXPECT_EQ(in.samples(), kRows);
  EXPECT_EQ(in.stimulus()[3], 103);
  EXPECT_EQ(in.provenance()["tool"], "test");
  EXPECT_EQ(in.attributes()["kind"], "tokens");
  const Array tokens = in.array("tokens");
  EXPECT_EQ(tokens.dimension_names(), (std::vector<std::string>{"sample", "token", "feature"}));
  EXPECT_EQ(tokens.attributes()["units"], "1");
  EXPECT_EQ(tokens.attributes()["long_name"], "test tokens");
  EXPECT_EQ(tokens.read_rows<float>(9, 1)[1], 8 * 2 * kWidth + (2 * kWidth + 1) / 8.f);
  EXPECT_EQ(in.array("half").read_rows<float>(28, 1)[0], 24 + 4 * kWidth / 16.f);
  EXPECT_EQ(in.array("caption").read_strings()[28], "caption 28 ä");
  EXPECT_FALSE(fs::exists(dir / "a.zarr.partial"));
}

TEST(Stage, AMissingArrayIsNamedWithWhatTheStoreHolds) {
  const test::TempDir dir;
  whole_store(dir / "a.zarr");
  try {
    StageReader(dir / "a.zarr").array("clip_tokens");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit(), Exit::data);
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("clip_tokens"), testing::HasSubstr("another stage"), testing::HasSubstr("half, stimulus, tokens")));
  }
}

TEST(Stage, ResumingAfterAnyUnitGivesTheSameBytes) {
  const test::TempDir dir;
  const std::string expected = whole_store(dir / "whole.zarr");
  for (std::size_t stop = 0; stop <= 4; ++stop) {
    const std::string path = dir / fmt::format("resumed{}.zarr", stop);
    {
      StageWriter out(path, spec(), options());
      const auto pending = out.pending();
      ASSERT_EQ(pending.size(), 4u);
      for (std::size_t i = 0; i < stop; ++i) write_unit(out, pending[i]);
      // A killed writer's temporary, and one array of the next unit without the others, must not matter.
      std::ofstream(path + ".partial/tokens/.0.1.2.me2-tmp") << "half";
      if (stop < 4) out.write("half", pending[stop], std::vector<float>(static_cast<std::size_t>(pending[stop].count * kWidth)).data());
    }
    EXPECT_FALSE(fs::exists(path));
    EXPECT_THROW(StageReader(path + ".partial"), Error);
    WriteOptions again = options();
    again.resume = true;
    StageWriter out(path, spec(), again);
    EXPECT_EQ(out.pending().size(), 4 - stop);
    write_all(out);
    EXPECT_TRUE(out.publish(provenance()));
    EXPECT_EQ(sha256_path(path), expected) << stop;
  }
}

TEST(Stage, BatchesInAnyOrderGiveTheSameBytes) {
  const test::TempDir dir;
  const std::string expected = whole_store(dir / "whole.zarr");
  const StageReader whole(dir / "whole.zarr");
  StageWriter out(dir / "batched.zarr", spec(), options());
  for (const RowRange& unit : out.pending()) {
    for (std::int64_t row = unit.first + unit.count - 1; row >= unit.first; --row) {
      out.write("tokens", {row, 1}, whole.array("tokens").read_rows<float>(row, 1).data());
      out.write("half", {row, 1}, whole.array("half").read_rows<float>(row, 1).data());
      out.write_strings("caption", {row, 1}, std::vector<std::string>{fmt::format("caption {} ä", row)});
    }
  }
  EXPECT_TRUE(out.publish(provenance()));
  EXPECT_EQ(sha256_path(dir / "batched.zarr"), expected);
}

TEST(Stage, ShardsInAnyOrderGiveTheSameContent) {
  const test::TempDir dir;
  whole_store(dir / "whole.zarr");
  const std::string expected = content_digest(Group::open(dir / "whole.zarr"));
  for (const int count : {2, 3, 4}) {
    const std::string path = dir / fmt::format("shards{}.zarr", count);
    for (int index = count; index >= 1; --index) {
      WriteOptions part = options();
      part.shard_index = index;
      part.shard_count = count;
      StageWriter out(path, spec(), part);
      write_all(out);
      EXPECT_EQ(out.publish(provenance()), index == 1);
    }
    EXPECT_EQ(content_digest(Group::open(path)), expected);
    EXPECT_EQ(StageReader(path).provenance()["parts"].size(), static_cast<std::size_t>(count - 1));
    for (const auto& file : fs::recursive_directory_iterator(dir / "whole.zarr"))
      if (file.is_regular_file() && file.path().filename() != "zarr.json") {
        const std::string relative = fs::relative(file.path(), dir / "whole.zarr");
        EXPECT_EQ(read_file(file.path()), read_file(path + "/" + relative)) << relative;
      }
  }
}

TEST(Stage, ProcessesWriteTheirShardsAtTheSameTime) {
  const test::TempDir dir;
  whole_store(dir / "whole.zarr");
  const std::string expected = content_digest(Group::open(dir / "whole.zarr"));
  for (int round = 0; round < 10; ++round) {
    const std::string path = dir / fmt::format("together{}.zarr", round);
    std::vector<pid_t> children;
    for (int index = 1; index <= 4; ++index) {
      const pid_t child = ::fork();
      if (child == 0) {
        try {
          WriteOptions part = options();
          part.shard_index = index;
          part.shard_count = 4;
          StageWriter out(path, spec(), part);
          write_all(out);
          out.publish(provenance());
          ::_exit(0);
        } catch (const std::exception& e) {
          std::fprintf(stderr, "%s\n", e.what());
          ::_exit(1);
        }
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    ASSERT_TRUE(fs::exists(path));
    EXPECT_FALSE(fs::exists(path + ".partial"));
    EXPECT_EQ(content_digest(Group::open(path)), expected);
  }
}

TEST(Stage, KilledAtAnyMomentItResumesToTheSameBytes) {
  const test::TempDir dir;
  const std::string expected = whole_store(dir / "whole.zarr");
  std::mt19937 random(5);
  for (int round = 0; round < 12; ++round) {
    const std::string path = dir / fmt::format("killed{}.zarr", round);
    const pid_t child = ::fork();
    if (child == 0) {
      WriteOptions first = options();
      StageWriter out(path, spec(), first);
      for (const RowRange& unit : out.pending()) write_unit(out, unit), ::usleep(500);
      out.publish(provenance());
      ::_exit(0);
    }
    ::usleep(random() % 15000);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    WriteOptions again = options();
    again.resume = true;
    StageWriter out(path, spec(), again);
    write_all(out);
    EXPECT_TRUE(out.publish(provenance()));
    EXPECT_EQ(sha256_path(path), expected) << round;
  }
}

template <class F>
Exit exit_of(F&& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (message) *message = e.what();
    return e.exit();
  }
  return Exit::ok;
}

TEST(Stage, AnOutputThatExistsIsReplacedOnlyWhenAsked) {
  const test::TempDir dir;
  const std::string path = dir / "a.zarr";
  whole_store(path);
  std::string message;
  EXPECT_EQ(exit_of([&] { StageWriter(path, spec(), options()); }, &message), Exit::cant_create);
  EXPECT_THAT(message, testing::HasSubstr("--overwrite"));
  WriteOptions over = options();
  over.overwrite = true;
  over.zarr_format = 2;
  StageWriter out(path, spec(), over);
  EXPECT_EQ(Group::open(path).zarr_format(), 3) << "the old store stays until the new one is complete";
  const std::string before = content_digest(Group::open(path));
  write_all(out);
  EXPECT_TRUE(out.publish(provenance()));
  EXPECT_EQ(Group::open(path).zarr_format(), 2);
  EXPECT_EQ(content_digest(Group::open(path)), before) << "v2 and v3 of the same content have one digest";
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST(Stage, ResumeOfAFinishedStoreHasNothingToDo) {
  const test::TempDir dir;
  whole_store(dir / "a.zarr");
  WriteOptions again = options();
  again.resume = true;
  StageWriter out(dir / "a.zarr", spec(), again);
  EXPECT_TRUE(out.pending().empty());
  EXPECT_TRUE(out.publish(provenance()));
}

TEST(Stage, AStoreThatOnlyLacksItsNameIsGivenIt) {  // the machine stopped just before the last rename
  const test::TempDir dir;
  const std::string expected = whole_store(dir / "a.zarr");
  fs::rename(dir / "a.zarr", dir / "a.zarr.partial");
  WriteOptions again = options();
  again.resume = true;
  again.config_digest = "of another run";
  EXPECT_THROW(StageWriter(dir / "a.zarr", spec(), again), Error);
  EXPECT_FALSE(fs::exists(dir / "a.zarr"));
  again.config_digest = options().config_digest;
  StageWriter out(dir / "a.zarr", spec(), again);
  EXPECT_TRUE(out.pending().empty());
  EXPECT_EQ(sha256_path(dir / "a.zarr"), expected);
  EXPECT_FALSE(fs::exists(dir / "a.zarr.partial"));
}

TEST(Stage, ResumeOfAnotherConfigurationNamesWhatDiffers) {
  const test::TempDir dir;
  WriteOptions first = options();
  first.config = std::make_shared<const Json>(Json{{"options", {{"--steps", {"20"}}, {"--guidance", {"1"}}}}});
  { StageWriter out(dir / "a.zarr", spec(), first); }
  WriteOptions again = first;
  again.resume = true;
  again.config = std::make_shared<const Json>(Json{{"options", {{"--steps", {"30"}}, {"--guidance", {"1"}}}}});
  again.config_digest = "def";
  std::string message;
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), again); }, &message), Exit::usage);
  EXPECT_THAT(message, testing::AllOf(testing::HasSubstr("--steps"), testing::HasSubstr("30"), testing::HasSubstr("20"), testing::Not(testing::HasSubstr("--guidance"))));
  WriteOptions without = first;
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), without); }, &message), Exit::cant_create);
  EXPECT_THAT(message, testing::HasSubstr("--resume"));
}

TEST(Stage, TwoWritersOfTheSameShardAreRefused) {
  const test::TempDir dir;
  WriteOptions part = options();
  part.shard_count = 2;
  StageWriter first(dir / "a.zarr", spec(), part);
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), part); }), Exit::temp_fail);
  WriteOptions all = options();
  all.resume = true;
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), all); }), Exit::temp_fail) << "the whole overlaps the part";
  part.shard_index = 2;
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), part); }), Exit::ok);
}

TEST(Stage, AShardThatWouldCutAUnitIsRefused) {
  const test::TempDir dir;
  WriteOptions part = options();
  part.shard_count = 5;  // 29 rows in units of 8: 4 units
  std::string message;
  EXPECT_EQ(exit_of([&] { StageWriter(dir / "a.zarr", spec(), part); }, &message), Exit::usage);
  EXPECT_THAT(message, testing::HasSubstr("units of 8"));
  EXPECT_FALSE(fs::exists(dir / "a.zarr.partial"));
}

TEST(Stage, ASignalStopsBetweenUnits) {
  const test::TempDir dir;
  const std::string expected = whole_store(dir / "whole.zarr");
  {
    StageWriter out(dir / "a.zarr", spec(), options());
    const auto pending = out.pending();
    write_unit(out, pending[0]);
    request_stop(SIGTERM);
    std::string message;
    EXPECT_EQ(exit_of([&] { write_unit(out, pending[1]); }, &message), Exit::temp_fail);
    EXPECT_THAT(message, testing::HasSubstr("SIGTERM"));
    clear_stop();
  }
  WriteOptions again = options();
  again.resume = true;
  StageWriter out(dir / "a.zarr", spec(), again);
  EXPECT_EQ(out.pending().size(), 2u);
  write_all(out);
  out.publish(provenance());
  EXPECT_EQ(sha256_path(dir / "a.zarr"), expected);
}

TEST(Stage, AUnitThatTakesTooLongAfterASignalIsGivenUp) {
  for (const int seconds_ago : {0, 31}) {
    const test::TempDir dir;
    StageWriter out(dir / "a.zarr", spec(), options());
    request_stop(SIGTERM, seconds_ago);
    std::string message;
    const std::vector<float> row(2 * kWidth);
    const auto write = [&] { out.write("tokens", {0, 1}, row.data()); };  // one row of eight
    if (seconds_ago) {
      EXPECT_EQ(exit_of(write, &message), Exit::temp_fail);
      EXPECT_THAT(message, testing::HasSubstr("--resume"));
    } else {
      write();
    }
    clear_stop();
  }
}

TEST(Stage, NineThousandSamplesStayUnderTwoHundredFiles) {
  // Layout only: the arrays of the full-size stores, counted as files that a complete store would hold.
  const test::TempDir dir;
  const std::vector<std::vector<StageArray>> stores{
      {{"latent", {4096}, DType::f4, {}, "1", ""}},
      {{"tokens", {256, 1664}, DType::f2, {}, "1", ""}, {"clip", {256, 1664}, DType::f2, {}, "1", ""}, {"lowlevel", {4, 28, 28}, DType::f4, {}, "1", ""}},
      {{"image", {3, 768, 768}, DType::u1, {}, "1", ""}},
      {{"caption", {}, DType::str, {}, "", ""}}};
  int n = 0;
  for (const auto& arrays : stores) {
    StageSpec s;
    s.stimulus.resize(9000);
    s.arrays = arrays;
    StageWriter out(dir / fmt::format("{}.zarr", n++), s, {});
    EXPECT_LT(out.units() * static_cast<std::int64_t>(arrays.size()) + static_cast<std::int64_t>(arrays.size()) + 3, 200);
    EXPECT_GE(out.units(), 36) << "or --resume and --shard have little to work with";
  }
}

TEST(Stage, AnEmptyStoreIsPublished) {
  const test::TempDir dir;
  StageSpec s = spec();
  s.stimulus.clear();
  StageWriter out(dir / "a.zarr", s, {});
  EXPECT_TRUE(out.pending().empty());
  EXPECT_TRUE(out.publish(provenance()));
  EXPECT_EQ(StageReader(dir / "a.zarr").array("tokens").shape(), (Shape{0, 2, kWidth}));
}

}  // namespace
}  // namespace me2::store
