// Test data without LibTorch: ../shared/real, the tensors of a golden case, and checking an error line.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/golden_dir.h"
#include "support/temp_dir.h"

namespace me2::test {

inline std::filesystem::path shared_dir() {
  const char* shared = std::getenv("ME2_SHARED");
  return shared ? std::filesystem::path(shared) : std::filesystem::path(ME2_SOURCE_DIR) / "../shared";
}

inline std::string real_dir(const std::string& name) {  // empty when absent
  const auto p = shared_dir() / "real" / name;
  return std::filesystem::exists(p) ? std::filesystem::canonical(p).string() : "";
}

inline void write_text(const std::string& path, std::string_view text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// The tensors of an io.safetensors as plain numbers, for tests that link no LibTorch.
class Tensors {
 public:
  explicit Tensors(const std::string& path) : text_(read_file(path)) {
    std::uint64_t length = 0;
    std::memcpy(&length, text_.data(), 8);
    header_ = parse_json(std::string_view(text_).substr(8, length), path);
    data_ = 8 + length;
  }
  bool has(const std::string& name) const { return header_.contains(name); }
  std::vector<std::int64_t> shape(const std::string& name) const { return header_.at(name).at("shape").get<std::vector<std::int64_t>>(); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [key, value] : header_.items())
      if (key != "__metadata__") out.push_back(key);
    return out;
  }
  template <class T>
  std::vector<T> raw(const std::string& name) const {  // as stored: sizeof(T) must be the tensor's item size
    const auto span = header_.at(name).at("data_offsets").get<std::vector<std::size_t>>();
    std::vector<T> out((span[1] - span[0]) / sizeof(T));
    std::memcpy(out.data(), text_.data() + data_ + span[0], out.size() * sizeof(T));
    return out;
  }

 private:
  std::string text_;
  Json header_;
  std::size_t data_ = 0;
};

}  // namespace me2::test

// The statement ends with one line of this exit status that mentions every word.
#define ME2_EXPECT_ERROR(statement, status, ...)                                              \
  do {                                                                                        \
    try {                                                                                     \
      statement;                                                                              \
      ADD_FAILURE() << "no error from " #statement;                                           \
    } catch (const me2::Error& e) {                                                           \
      EXPECT_EQ(e.exit(), status) << e.what();                                                \
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();             \
      for (const std::string& word : std::vector<std::string>{__VA_ARGS__})                   \
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << word << " not in: " << e.what(); \
    }                                                                                         \
  } while (false)
