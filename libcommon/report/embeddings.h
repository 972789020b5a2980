// Embeddings to be scored, whatever holds them: an array of a store (rows named by `stimulus` when it is there) or a .npy, read in blocks.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "metrics/retrieval.h"

namespace me2::report {

struct Embeddings {
  std::string path;
  std::int64_t size = 0;
  std::vector<std::string> ids;  // of rows; may repeat; empty: no names
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;  // [count, F], f16 where it is stored so
};

// `array`: of a store; empty: the first of clip, clip_tokens, clip_pooled, tokens that is there. Exit::data for another form.
Embeddings open_embeddings(const std::string& path, const std::string& array);

// Rows that show the same image are its repeats: unique ids in order of first appearance (empty without names), and the rows of each.
std::pair<std::vector<std::string>, std::vector<std::vector<std::int64_t>>> group_repeats(const Embeddings& e);

// Per image, the mean of the first `repeats` of its rows. e and rows must outlive what is returned. Exit::data for values that are not finite.
metrics::Rows averaged(const Embeddings& e, const std::vector<std::vector<std::int64_t>>& rows, std::size_t repeats);

}  // namespace me2::report
