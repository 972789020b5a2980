#include "base/hash.h"

#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temp_dir.h"

namespace me2 {
namespace {

// FIPS 180-4 examples.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheBytesArrive) {
  Sha256 pieces;
  pieces.update(std::string_view("a")).update(std::string_view("")).update(std::string_view("bc"));
  EXPECT_EQ(pieces.hex(), sha256("abc"));
}

TEST(PathDigest, OfAFileIsThatOfItsBytes) {
  const test::TempDir dir;
  EXPECT_EQ(sha256_path(dir.write("f", "abc")), sha256("abc"));
  EXPECT_THROW(sha256_path(dir / "absent"), Error);
}

TEST(PathDigest, OfAFolderIsThatOfItsSortedListing) {
  const test::TempDir dir;
  dir.write("s/b", "2");
  dir.write("s/a/c", "1");
  const std::string listing = sha256("1") + "  a/c\n" + sha256("2") + "  b\n";
  EXPECT_EQ(sha256_path(dir / "s"), sha256(listing));
}

TEST(PathDigest, AFolderThatCannotBeListedIsNoEmptyFolder) {
  const test::TempDir dir;
  dir.write("s/closed/a", "1");
  std::filesystem::permissions(dir / "s/closed", std::filesystem::perms::none);
  const bool readable = ::access((dir / "s/closed").c_str(), R_OK) == 0;  // by root
  if (!readable) {
    EXPECT_THROW(sha256_path(dir / "s"), Error);
    EXPECT_THROW(sha256_path(dir / "s/closed"), Error);
  }
  std::filesystem::permissions(dir / "s/closed", std::filesystem::perms::owner_all);
  if (readable) GTEST_SKIP() << "root may list every folder; tests/faults has that fail for everybody";
}

TEST(QuickDigest, SeesAChangeOfNameSizeAndContent) {
  const test::TempDir dir;
  dir.write("s/a", "1");
  const auto before = quick_digest(dir / "s");
  EXPECT_EQ(before, quick_digest(dir / "s"));
  dir.write("s/a", "2");
  const auto changed = quick_digest(dir / "s");
  EXPECT_NE(changed, before);
  dir.write("s/b", "");
  EXPECT_NE(quick_digest(dir / "s"), changed);
}

TEST(QuickDigest, SamplesALargeFileAndStillSeesItsLength) {
  const test::TempDir dir;
  const auto large = dir.write("f", std::string(20 << 20, 'x'));
  const auto before = quick_digest(large);
  EXPECT_NE(before, sha256_path(large));
  dir.write("f", std::string((20 << 20) + 1, 'x'));
  EXPECT_NE(quick_digest(large), before);
}

}  // namespace
}  // namespace me2
