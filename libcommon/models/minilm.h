// Sentence embeddings by a BERT encoder (all-MiniLM-L6-v2 and its like): mean over attended positions, then unit length.
// Source: Reimers and Gurevych 2019 (Sentence-BERT); transformers BertModel. Names of BertModel, with or without "bert.".
#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/json_fwd.h"
#include "models/bert_layer.h"
#include "nn/layers.h"
#include "weights/state_dict.h"

namespace me2::models {

struct BertConfig {
  std::int64_t vocab_size = 30522, width = 384, layers = 6, heads = 12, mlp_width = 1536, positions = 512, types = 2;
  double eps = 1e-12;
  // Shapes under `scope`; "num_attention_heads" and "layer_norm_eps" from the config ("bert" in it, when it is a golden case's), else heads of 32.
  static BertConfig detect(const nn::Scope& scope, const Json& config);
};

struct SentenceEncoder {
  BertConfig config;
  nn::Embedding word, position, type;
  nn::LayerNorm norm;
  std::vector<BertLayer> layers;
  SentenceEncoder(const nn::Scope& s, const BertConfig& config);

  at::Tensor hidden(const at::Tensor& ids, const at::Tensor& mask) const;      // [B, L] int64 each -> [B, L, width]
  at::Tensor operator()(const at::Tensor& ids, const at::Tensor& mask) const;  // -> [B, width], unit length
};

// From a model directory or file; the pooler and stored position_ids are accepted and not used.
SentenceEncoder load_sentence_encoder(const weights::StateDict& dict);

}  // namespace me2::models
