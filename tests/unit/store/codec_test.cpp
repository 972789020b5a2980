#include "store/codec.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "store/crc32c.h"

namespace me2::store {
namespace {

TEST(Crc32c, KnownValues) {  // RFC 3720 appendix B.4, and the check value of "123456789"
  std::vector<std::uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), std::uint8_t{0});
  for (const auto f : {crc32c, crc32c_by_table}) {
    EXPECT_EQ(f("123456789", 9), 0xE3069283u);
    EXPECT_EQ(f(Bytes(32, 0).data(), 32), 0x8A9136AAu);
    EXPECT_EQ(f(Bytes(32, 0xFF).data(), 32), 0x62A8AB43u);
    EXPECT_EQ(f(rising.data(), 32), 0x46DD794Eu);
    EXPECT_EQ(f("", 0), 0u);
  }
}

TEST(Crc32c, InstructionAndTableAgree) {
  Bytes data(40000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * i >> 3);
  for (const std::size_t n : {1u, 7u, 8u, 4095u, 12287u, 12288u, 12289u, 24580u, 40000u}) EXPECT_EQ(crc32c(data.data(), n), crc32c_by_table(data.data(), n)) << n;
}

ByteCodec codec(ByteCodec::Kind kind) {
  ByteCodec out;
  out.kind = kind;
  out.level = 1;
  out.compressor = "lz4";
  out.checksum = true;
  return out;
}

TEST(CodecChain, AnyTwoOrThreeInARowDecodeWhatTheyEncoded) {
  using Kind = ByteCodec::Kind;
  const Kind kinds[] = {Kind::blosc, Kind::zstd, Kind::gzip, Kind::zlib, Kind::crc32c};
  Bytes raw(5000);
  for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<std::uint8_t>(i % 7 * (i / 1000));
  for (const Kind a : kinds)
    for (const Kind b : kinds)
      for (const Kind c : kinds) {
        CodecChain chain;
        chain.bytes = {codec(a), codec(b), codec(c)};
        Bytes encoded, decoded(raw.size());
        chain.encode(raw, encoded);
        chain.decode(encoded, decoded);
        ASSERT_EQ(decoded, raw) << chain.bytes[0].name() << chain.bytes[1].name() << chain.bytes[2].name();
        ASSERT_EQ(chain.decode_up_to(encoded, raw.size()), raw);
        EXPECT_THROW(chain.decode_up_to(encoded, raw.size() - 1), Error);
        Bytes shorter(raw.size() - 1), longer(raw.size() + 1);
        EXPECT_THROW(chain.decode(encoded, shorter), Error);
        EXPECT_THROW(chain.decode(encoded, longer), Error);
      }
}

TEST(CodecChain, EveryFlippedBitOfAChecksummedChunkIsNoticed) {
  CodecChain chain;
  chain.bytes = {codec(ByteCodec::Kind::zstd), codec(ByteCodec::Kind::crc32c)};
  const Bytes raw(300, 9);
  Bytes encoded, out(raw.size());
  chain.encode(raw, encoded);
  for (std::size_t bit = 0; bit < encoded.size() * 8; ++bit) {
    Bytes bad = encoded;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_THROW(chain.decode(bad, out), Error) << bit;
  }
}

TEST(Strings, WhatIsNotUtf8) {  // Unicode 15, table 3-7: overlong forms, surrogates, past U+10FFFF, cut sequences
  for (const char* good : {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) EXPECT_TRUE(is_utf8(good));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x82"})
    EXPECT_FALSE(is_utf8(bad)) << testing::PrintToString(bad);
}

TEST(Strings, VlenFramesThatLie) {
  const Bytes good = encode_vlen_utf8(std::vector<std::string>{"ab", "c"});
  EXPECT_EQ(decode_vlen_utf8(good, 2), (std::vector<std::string>{"ab", "c"}));
  EXPECT_THROW(decode_vlen_utf8(good, 3), Error);
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_THROW(decode_vlen_utf8(ByteSpan(good).first(n), 2), Error);
  Bytes huge = good;
  huge[7] = 0xFF;
  EXPECT_THROW(decode_vlen_utf8(huge, 2), Error);
  EXPECT_THROW(decode_vlen_utf8(Bytes{0xFF, 0xFF, 0xFF, 0xFF}, 0xFFFFFFFF), Error);
}

}  // namespace
}  // namespace me2::store
