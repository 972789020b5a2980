// The whole MindEye2 module under its official names: ridge.linears.<i>, backbone.*, diffusion_prior.net.*,
// diffusion_prior.noise_scheduler.*. The same constructor loads a checkpoint, starts one from scratch or lists its names.
//     weights::StateDict dict = ...; nn::Loader loader(dict);
//     MindEye model(loader, MindEyeConfig::detect(loader));  loader.finish();
//     nn::Initialiser fresh(seed);  MindEye model(fresh, config);   // fresh.made(): every parameter and buffer by name
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "models/backbone.h"
#include "models/diffusion_prior.h"
#include "models/ridge.h"

namespace me2::models {

struct MindEyeConfig {
  std::vector<std::int64_t> voxels;  // one per subject, in the order of ridge.linears; empty: no ridge
  bool mlp_map = false;              // ridge.mlps.<i> in the place of ridge.linears.<i>: see ridge.h
  BackboneConfig backbone;
  bool with_backbone = true;
  bool with_prior = true;
  DiffusionPriorConfig prior;

  // Sizes from the shapes of a checkpoint; a part that it does not hold is off. Exit::data when it holds none of them.
  static MindEyeConfig detect(nn::ParamSource& source);
  // The prior's token count and width follow the backbone's: call after setting the backbone of a fresh network.
  void match_prior(std::int64_t depth = 6, std::int64_t heads = 32, std::int64_t dim_head = 52, std::int64_t ff_mult = 4);
};

struct MindEye {
  MindEyeConfig config;
  std::optional<Ridge> ridge;
  std::optional<Backbone> backbone;
  std::optional<DiffusionPrior> diffusion_prior;
  MindEye(nn::ParamSource& source, const MindEyeConfig& config);
};

// The subject's ridge in a checkpoint: its position by the `subjects` list of config.json when there is one; else the only one,
// whatever its number; else subjNN is position NN - 1. Exit::usage naming the subjects there are, and the
// `option` that asked, when it cannot be told.
std::int64_t ridge_position(const weights::StateDict& dict, const std::string& subject, const std::string& option = "--subject");

// A checkpoint holds either the whole module or one part of it under names of its own ("net.learned_query", "backbone_linear.weight"):
// `part` ("backbone", "diffusion_prior") with its prefix taken off where it is there.
weights::StateDict part_of(const weights::StateDict& dict, const std::string& part);

}  // namespace me2::models
