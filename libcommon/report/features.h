// What networks say of pictures, each picture embedded once: rows that show the same picture share it, and rows are kept for what is scored beside.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::report {

// Pictures float [n, 3, H, W] in [0, 1] in, rows [n, F] for each of its layers out.
using Network = std::function<std::vector<at::Tensor>(const at::Tensor& pictures)>;

// Rows of one set of images, kept between calls of score_images and add_baseline. Holds the images of one call (the largest a run needs);
// another set, or others of the same set, replaces them.
struct KeptFeatures {
  std::string set;                             // what the rows are of: ImageSet::path, of reconstructions scored_set
  std::map<std::string, std::int64_t> row;     // of each image id
  std::map<std::string, at::Tensor> features;  // f32 [images, F], by score name; "tower": of --scorer, "gnet"
  void start(const std::string& of, const std::vector<std::string>& ids);  // forgets what is of other images
  void keep(const std::string& name, const std::vector<std::string>& ids, const at::Tensor& of_ids);  // of all images at once, or not at all
};

// Row i of n shows the picture features[row[i]].
struct Embedded {
  at::Tensor features;  // [pictures, F]
  std::vector<std::int64_t> row;
  at::Tensor rows() const;       // [n, F]
  at::Tensor index() const;      // row as int64 [n]
  at::Tensor counts() const;     // f64 [pictures]: how many rows show each
};

// Rows whose name is the same show the same picture: which rows to embed, and for each row the place of its picture among those.
struct Distinct {
  std::vector<std::int64_t> embed, row;
  explicit Distinct(const std::vector<std::string>& names);
};

}  // namespace me2::report
