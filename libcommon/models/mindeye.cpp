#include "models/mindeye.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace me2::models {
namespace {
bool is_small_number(const std::string& text) {
  return !text.empty() && text.size() < 4 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}
}  // namespace

MindEyeConfig MindEyeConfig::detect(nn::ParamSource& source) {
  MindEyeConfig c;
  const nn::Scope root(source);
  c.voxels = Ridge::detect_voxels(root.sub("ridge"));
  c.mlp_map = Ridge::detect_mlp(root.sub("ridge"));
  c.with_backbone = root.has("backbone.backbone_linear.weight");
  c.with_prior = root.has("diffusion_prior.net.learned_query");
  if (c.with_backbone) c.backbone = BackboneConfig::detect(root.sub("backbone"), c.with_prior ? root.shape("diffusion_prior.net.learned_query").at(1) : 0);
  else if (!c.voxels.empty()) c.backbone.hidden = Ridge::detect_hidden(root.sub("ridge"));
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
  if (!c.voxels.empty()) ridge.emplace(root.sub("ridge"), c.voxels, c.backbone.hidden, c.mlp_map);
  if (c.with_backbone) backbone.emplace(root.sub("backbone"), c.backbone);
  if (c.with_prior) diffusion_prior.emplace(root.sub("diffusion_prior"), c.prior);
}

std::int64_t ridge_position(const weights::StateDict& dict, const std::string& subject, const std::string& option) {
  std::vector<std::int64_t> held;
  for (const auto& [stem, leaf] : {std::pair<std::string_view, std::string_view>{"ridge.linears.", ".weight"}, {"ridge.mlps.", ".0.weight"}})
    for (const auto& name : dict.names())
      if (name.starts_with(stem) && name.ends_with(leaf) && name.size() > stem.size() + leaf.size()) {
        const std::string digits = name.substr(stem.size(), name.size() - stem.size() - leaf.size());
        if (is_small_number(digits)) held.push_back(std::stol(digits));
      }
  if (held.empty()) throw data_error("{}: no ridge (tensor ridge.linears.0.weight is missing)", dict.path());
  if (const auto& config = dict.config(); config.contains("subjects")) {
    const Json& list = config["subjects"];
    if (!list.is_array() || !std::all_of(list.begin(), list.end(), [](const Json& s) { return s.is_string(); }))
      throw data_error("{}: config.json: subjects is {}, a list of names expected", dict.path(), list.dump());
    const auto subjects = list.get<std::vector<std::string>>();
    const auto at = std::find(subjects.begin(), subjects.end(), subject);
    if (at == subjects.end()) throw usage_error("{} {}: {} holds ridges for {}", option, subject, dict.path(), fmt::join(subjects, ", "));
    return at - subjects.begin();
  }
  if (held.size() == 1) return held.front();
  const std::string digits = subject.starts_with("subj") ? subject.substr(4) : subject;
  const std::int64_t position = is_small_number(digits) ? std::stol(digits) - 1 : -1;
  if (std::find(held.begin(), held.end(), position) == held.end())
    throw usage_error("{} {}: {} holds {} ridges and no list of subjects; subj{:02} to subj{:02}, or --ridge N, expected", option, subject, dict.path(), held.size(),
                      *std::min_element(held.begin(), held.end()) + 1, *std::max_element(held.begin(), held.end()) + 1);
  return position;
}

weights::StateDict part_of(const weights::StateDict& dict, const std::string& part) {
  if (!dict.has_prefix(part + ".")) return dict;
  for (const auto& name : dict.names())
    if (!name.starts_with("ridge.") && !name.starts_with("backbone.") && !name.starts_with("diffusion_prior."))
      throw data_error("{}: tensor {} (shape [{}]) is not part of MindEye2", dict.path(), name, fmt::join(dict.shape(name), ", "));
  return dict.sub(part + ".");
}

}  // namespace me2::models
