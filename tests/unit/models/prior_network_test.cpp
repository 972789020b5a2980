// The prior's network against the reference: golden prior_network, with every intermediate and both input gradients.
#include "models/prior_network.h"

#include "support/golden.h"

namespace me2::models {
namespace {

struct Case {
  test::Golden golden{"prior_network"};
  double tolerance = golden.config["tolerance"];
  nn::Loader loader{weights::StateDict::open(golden.model())};
  PriorNetwork net{nn::Scope(loader), PriorNetworkConfig::detect(nn::Scope(loader))};
  at::Tensor image = golden.in("image_embed"), brain = golden.in("text_embed"), times = golden.in("timesteps");
};

TEST(PriorNetwork, AFreshOneStartsAsTheReferences) {  // models.py: randn for the nulls, randn / sqrt(dim) for the query; null_kv and positions as dalle2-pytorch
  PriorNetworkConfig config;
  config.tokens = 64;
  config.width = 100;
  config.depth = 1;
  config.heads = 50;
  config.dim_head = 40;
  config.inner = 400;
  nn::Initialiser fresh(3);
  const PriorNetwork net(nn::Scope(fresh), config);
  const auto deviation = [](const at::Tensor& x) { return x.std().item<double>(); };  // of 80 draws at the least, most of thousands
  EXPECT_NEAR(deviation(net.learned_query), .1, .005);
  EXPECT_NEAR(deviation(net.null_brain_embeds), 1, .05);
  EXPECT_NEAR(deviation(net.null_image_embed), 1, .05);
  EXPECT_NEAR(deviation(net.relative_attention_bias), 1, .1);
  EXPECT_NEAR(deviation(net.layers[0].attention.null_kv), 1, .35);
  EXPECT_NEAR(deviation(net.project_out.weight), .1 / std::sqrt(3.), .003);  // uniform in 1/sqrt(fan in): nn.Linear's
  EXPECT_TRUE(net.norm.g.equal(at::ones({100})));
}

TEST(PriorNetwork, GoldenIntermediates) {
  ME2_NEEDS_GOLDEN("prior_network");
  Case c;
  c.loader.finish();
  const at::Tensor bias = c.net.relative_bias();
  c.golden.expect("mid.sinusoidal", c.net.sinusoidal(c.times), c.tolerance);
  c.golden.expect("mid.time_embed", c.net.time_embedding(c.times), c.tolerance);
  c.golden.expect("mid.rel_pos_bias", bias, c.tolerance);
  at::Tensor x = c.net.sequence(c.image, c.times, c.brain, {});
  c.golden.expect("mid.tokens", x, c.tolerance);
  const at::Tensor attended = c.net.layers[0].attention(x, bias);
  c.golden.expect("mid.layer0_attn", attended, c.tolerance);
  c.golden.expect("mid.layer0_ff", c.net.layers[0].feed_forward(attended + x), c.tolerance);
  for (const auto& layer : c.net.layers) {
    x = layer.attention(x, bias) + x;
    x = layer.feed_forward(x) + x;
  }
  c.golden.expect("mid.final_norm", c.net.final_norm(x), c.tolerance);
  // out.bucket_of_distance[k] belongs to query - key = k - 2
  const at::Tensor buckets = c.golden.out("bucket_of_distance");
  EXPECT_TRUE(at::equal(buckets, PriorNetwork::distance_bucket(at::arange(buckets.numel(), at::kLong) - 2, c.net.config.buckets, c.net.config.max_distance)));
}

TEST(PriorNetwork, GoldenPredictionsMasksAndGuidance) {
  ME2_NEEDS_GOLDEN("prior_network");
  Case c;
  const auto none = PriorKeep::none(c.image.size(0), at::kCPU);
  c.golden.expect("pred", c.net(c.image, c.times, c.brain), c.tolerance);
  c.golden.expect("pred_null", c.net(c.image, c.times, c.brain, none), c.tolerance);
  c.golden.expect("pred_brain_null", c.net(c.image, c.times, c.brain, {none.brain, {}}), c.tolerance);
  c.golden.expect("pred_image_null", c.net(c.image, c.times, c.brain, {{}, none.image}), c.tolerance);
  c.golden.expect("pred_masked", c.net(c.image, c.times, c.brain, {c.golden.in("brain_keep_mask").to(at::kBool), c.golden.in("image_keep_mask").to(at::kBool)}), c.tolerance);
  c.golden.expect("pred_cond_scale_3", c.net.guided(c.image, c.times, c.brain, 3), c.tolerance);
}

TEST(PriorNetwork, GoldenInputGradients) {
  ME2_NEEDS_GOLDEN("prior_network");
  Case c;
  c.image.set_requires_grad(true);
  c.brain.set_requires_grad(true);
  (c.net(c.image, c.times, c.brain) * c.golden.in("cotangent")).sum().backward();
  c.golden.expect("grad_image_embed", c.image.grad(), c.tolerance);
  c.golden.expect("grad_text_embed", c.brain.grad(), c.tolerance);
}

TEST(PriorNetwork, GoldenWithTheEpsOfHalfPrecisionAfterTheAttentionOnly) {
  ME2_NEEDS_GOLDEN("prior_network");
  Case c;
  auto config = c.net.config;
  config.out_norm_eps = 1e-3;
  const PriorNetwork net(nn::Scope(c.loader), config);
  c.golden.expect("pred_eps_to_out_1e3", net(c.image, c.times, c.brain), c.tolerance);
}

}  // namespace
}  // namespace me2::models
