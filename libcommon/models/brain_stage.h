// me2-embed brain: latents through the backbone and its heads, repeats of a stimulus averaged as the reference does.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/work.h"
#include "models/average.h"
#include "models/backbone.h"
#include "store/columns.h"
#include "store/stage.h"

namespace me2::models {

enum class BrainHeads { all, clip };  // clip: the retrieval head alone

struct BrainOptions {
  Average average = Average::repeats;
  BrainHeads only = BrainHeads::all;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

class BrainStage {
 public:
  // Exit::data when the store holds no latents, or their width is not the backbone's.
  BrainStage(const std::string& latents, const weights::StateDict& model, const BrainOptions& options);
  store::StageSpec spec() const;
  std::uint64_t weight_bytes() const { return weight_bytes_; }
  const Backbone& backbone() const { return *net_; }
  Work work(std::int64_t batch) const;  // of all rows; the device is meta
  void run(store::StageWriter& out, std::int64_t batch, const std::function<void(std::int64_t)>& done) const;

 private:
  store::Array latents_;
  BrainOptions options_;
  std::vector<AveragedRow> rows_;
  store::Columns columns_;
  std::optional<Backbone> net_;
  std::uint64_t weight_bytes_ = 0;
};

}  // namespace me2::models
