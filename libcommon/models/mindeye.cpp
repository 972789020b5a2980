#include "models/mindeye.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace me2::models {

MindEyeConfig MindEyeConfig::detect(nn::ParamSource& source) {
  MindEyeConfig c;
  const nn::Scope root(source);
  c.voxels = Ridge::detect_voxels(root.sub("ridge"));
  c.with_backbone = root.has("backbone.backbone_linear.weight");
  c.with_prior = root.has("diffusion_prior.net.learned_query");
  if (c.with_backbone) c.backbone = BackboneConfig::detect(root.sub("backbone"));
  else if (!c.voxels.empty()) c.backbone.hidden = root.shape("ridge.linears.0.weight").at(0);
  if (c.with_prior) c.prior = DiffusionPriorConfig::detect(root.sub("diffusion_prior"));
  if (c.voxels.empty() && !c.with_backbone && !c.with_prior)
    throw data_error("a MindEye2 checkpoint expected (ridge.linears.0.weight, backbone.backbone_linear.weight or diffusion_prior.net.learned_query); none is there");
  return c;
}

void MindEyeConfig::match_prior(std::int64_t depth, std::int64_t heads, std::int64_t dim_head, std::int64_t ff_mult) {
  auto& net = prior.net;
  net.tokens = backbone.tokens;
  net.width = backbone.width;
  net.depth = depth;
  net.heads = heads;
  net.dim_head = dim_head;
  net.inner = ff_mult * net.width;
}

MindEye::MindEye(nn::ParamSource& source, const MindEyeConfig& c) : config(c) {
  const nn::Scope root(source);
  if (!c.voxels.empty()) ridge.emplace(root.sub("ridge"), c.voxels, c.backbone.hidden);
  if (c.with_backbone) backbone.emplace(root.sub("backbone"), c.backbone);
  if (c.with_prior) diffusion_prior.emplace(root.sub("diffusion_prior"), c.prior);
}

std::size_t ridge_position(const weights::StateDict& dict, const std::string& subject) {
  std::size_t count = 0;
  while (dict.has(fmt::format("ridge.linears.{}.weight", count))) ++count;
  if (count == 0) throw data_error("{}: no ridge (tensor ridge.linears.0.weight is missing)", dict.path());
  if (const auto& config = dict.config(); config.contains("subjects")) {
    const auto subjects = config["subjects"].get<std::vector<std::string>>();
    const auto at = std::find(subjects.begin(), subjects.end(), subject);
    if (at == subjects.end())
      throw usage_error("--subject {}: {} holds ridges for {}", subject, dict.path(), fmt::join(subjects, ", "));
    return static_cast<std::size_t>(at - subjects.begin());
  }
  if (count == 1) return 0;
  const std::string digits = subject.starts_with("subj") ? subject.substr(4) : subject;
  const bool number = !digits.empty() && digits.size() < 4 && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  const std::size_t position = number ? static_cast<std::size_t>(std::stoi(digits)) : 0;
  if (position < 1 || position > count)
    throw usage_error("--subject {}: {} holds {} ridges and no list of subjects; subj01..subj{:02} expected", subject, dict.path(), count, count);
  return position - 1;
}

weights::StateDict part_of(const weights::StateDict& dict, const std::string& part) {
  return dict.has_prefix(part + ".") ? dict.sub(part + ".") : dict;
}

}  // namespace me2::models
