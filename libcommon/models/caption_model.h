// What me2-caption runs: an optional converter, GIT and a vocabulary, found in a folder or named one by one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/work.h"
#include "models/clip_converter.h"
#include "models/git_captioner.h"
#include "store/zarr.h"
#include "text/wordpiece.h"

namespace me2::models {

// Where the parts are; docs/models.md, "Captions", has the rule. An empty path: the part is not there.
struct CaptionPaths {
  std::string converter, git, vocabulary;
  // model: a folder with converter/ (or bigG_to_L_epoch8.pth) and git/ (or git-large-coco/), or GIT's own folder or file. What is
  // given by name wins. The vocabulary is looked for beside GIT, then in `model`. Exit::no_input when GIT is nowhere.
  static CaptionPaths find(const std::string& model, const std::string& converter, const std::string& git, const std::string& vocabulary);
};

struct CaptionModel {
  std::optional<ClipConverter> converter;
  std::optional<GitCaptioner> git;
  std::optional<text::WordPiece> vocabulary;

  // The converter is left out when the tokens have not its shape but the width that GIT reads. Exit::data when nothing fits.
  static CaptionModel load(const CaptionPaths& paths, std::int64_t tokens, std::int64_t width, at::ScalarType dtype, at::Device device);

  // Of one row of [sample, T, D], `batch` at a time; the device is meta.
  Work work(const store::Shape& tokens, std::int64_t batch, std::int64_t beams, std::int64_t max_length) const;
  at::Tensor features(const at::Tensor& tokens) const;  // [B, T, D] -> what GIT reads
  at::Tensor ids(const at::Tensor& tokens, std::int64_t beams, std::int64_t max_length) const;  // [B, L] int64 on the CPU
  // One text per row of ids; without a vocabulary the numbers of its word pieces, from after the start to before the end.
  std::vector<std::string> captions(const at::Tensor& ids) const;
};

ClipConverter load_clip_converter(const std::string& path, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);
GitCaptioner load_git(const std::string& path, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);

}  // namespace me2::models
