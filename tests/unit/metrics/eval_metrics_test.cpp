// The shared eval_metrics case, in place: every number of it comes from MindEye2's final_evaluations cells (see its config.json). And its
// twin tests/golden/twins/eval_metrics: rendered scenes, scores by scikit-image, scipy and others (see make.py there).
#include <regex>

#include <ATen/TensorIndexing.h>

#include "metrics/brain.h"
#include "metrics/identification.h"
#include "metrics/pixels.h"
#include "metrics/retrieval.h"
#include "support/golden.h"
#include "vision/colour.h"
#include "vision/resize.h"

namespace me2::metrics {
namespace {

at::Tensor f64(const std::vector<double>& v) { return at::tensor(v, at::kDouble); }
at::Tensor i64(const std::vector<std::int64_t>& v) { return at::tensor(v, at::kLong); }

struct Case : test::Golden {
  explicit Case(const std::string& name) : Golden(name) {}
  double tolerance(const char* name) const { return config["tolerance"][name].get<double>(); }
  bool antialias() const { return config["antialias"].get<bool>(); }
  at::Tensor sized(const std::string& name) const { return to_scoring_size(in(name), antialias(), config["resize_before"].get<std::int64_t>()); }
};

class EvalMetrics : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Cases, EvalMetrics, testing::Values("eval_metrics", "twins/eval_metrics"),
                         [](const auto& info) { return std::string(info.param).starts_with("twins") ? "Twin" : "Shared"; });

TEST_P(EvalMetrics, PixelScores) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  const at::Tensor truth = golden.sized("images"), recon = golden.sized("recons"), blurry = golden.sized("blurry");
  const double w = golden.config["enhanced_weight"].get<double>(), v = golden.config["blurry_weight"].get<double>();
  const at::Tensor blended = recon * w + blurry * v;
  PixelOptions options;
  options.size = golden.config["resize_metric"].get<std::int64_t>();
  for (const auto& [name, images] : {std::pair{"recons", recon}, {"enhanced", blended}, {"blurry", blurry}}) {
    const auto got = pixel_scores(truth, images, options);
    golden.expect(std::string("pixcorr_") + name, f64(got.pixcorr), golden.tolerance("pixcorr"));
    golden.expect(std::string("ssim_") + name, f64(got.ssim), golden.tolerance("ssim"));
    golden.expect(std::string("mean_pixcorr_") + name, f64(got.pixcorr).mean(0, true), golden.tolerance("pixcorr"));
    golden.expect(std::string("mean_ssim_") + name, f64(got.ssim).mean(0, true), golden.tolerance("ssim"));
  }
  for (const auto& name : golden.io.names()) {
    std::smatch m;
    if (std::regex_match(name, m, std::regex("out\\.averaged_256_first(\\d+)_stride(\\d+)"))) {
      const auto k = std::stoll(m[1]), s = std::stoll(m[2]);
      golden.expect(name.substr(4), blended.slice(0, 0, k).slice(2, 0, at::indexing::None, s).slice(3, 0, at::indexing::None, s), golden.tolerance("pixels"));
    } else if (std::regex_match(name, m, std::regex("out\\.gray_(\\d+)_first_stride(\\d+)"))) {
      const auto s = std::stoll(m[2]);
      const at::Tensor gray = vision::gray_bt709(vision::resize_shorter(truth.slice(0, 0, 1), std::stoll(m[1])))[0];
      golden.expect(name.substr(4), gray.slice(0, 0, at::indexing::None, s).slice(1, 0, at::indexing::None, s), golden.tolerance("pixels"));
    }
  }
}

TEST_P(EvalMetrics, TrainingPixCorr) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  // utils.pixcorr of the training loop enlarges both sets to 425 first.
  const auto big = [&](const at::Tensor& x) { return vision::resize_shorter(x, golden.config["resize_metric"].get<std::int64_t>()); };
  const at::Tensor blended = golden.sized("recons") * golden.config["enhanced_weight"].get<double>() + golden.sized("blurry") * golden.config["blurry_weight"].get<double>();
  golden.expect("train_pixcorr", f64({training_pixcorr(big(golden.sized("images")), big(blended))}), golden.tolerance("pixcorr"));
}

TEST_P(EvalMetrics, TwoWayIdentification) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  for (const std::string kind : {"", "_ties"}) {
    const at::Tensor r = feature_correlations(golden.in("feat_real" + kind), golden.in("feat_pred"));
    if (kind.empty()) golden.expect("twoway_r", r, 1e-12);
    const auto count = wins(r);
    golden.expect("twoway" + kind + "_success_count", i64(count), golden.tolerance("counts and top-1"));
    golden.expect("twoway" + kind + "_percent", f64(n_way(count, 2)).mean(0, true), 1e-12);
  }
}

TEST_P(EvalMetrics, CorrelationDistance) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  const at::Tensor got = f64(correlation_distance(golden.in("feat_real"), golden.in("feat_pred")));
  golden.expect("correlation_distance", got, golden.tolerance("correlation_distance"));
  golden.expect("mean_correlation_distance", got.mean(0, true), golden.tolerance("correlation_distance"));
}

TEST_P(EvalMetrics, Retrieval) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  const at::Tensor similarity = cosine_matrix(Rows::of(golden.in("retrieval_clip_brain")), Rows::of(golden.in("retrieval_clip_image")));
  std::vector<Draw> draws;
  for (const at::Tensor& row : golden.in("retrieval_draws").unbind()) {
    const auto* p = row.const_data_ptr<std::int64_t>();
    draws.push_back({{p, p + row.numel()}});
  }
  const auto got = retrieve(similarity, draws);
  golden.expect("retrieval_fwd", f64(got.fwd().per_draw), 1e-7);
  golden.expect("retrieval_bwd", f64(got.bwd().per_draw), 1e-7);
  const auto summary = [](const Direction& d) { return f64({d.mean, d.sem, d.low, d.high}); };
  golden.expect("retrieval_fwd_mean_sem_ci", summary(got.fwd()), 1e-7);
  golden.expect("retrieval_bwd_mean_sem_ci", summary(got.bwd()), 1e-7  /* the reference averages in float32 */);
  const at::Tensor last = golden.in("retrieval_draws")[-1];
  const at::Tensor fwd = similarity.index_select(0, last).index_select(1, last).t();  // rows: images, columns: brain
  golden.expect("retrieval_fwd_sim_last", fwd.slice(0, 0, 6).slice(1, 0, 6), 1e-5);
  golden.expect("retrieval_top5_first4", std::get<1>(fwd.slice(0, 0, 4).topk(5, 1)), 0);
}

TEST_P(EvalMetrics, BrainCorrelation) {
  ME2_NEEDS_GOLDEN(GetParam());
  const Case golden(GetParam());
  for (const std::string region : {"nsd_general", "V1", "V2", "V3", "V4", "higher_vis"}) {
    const at::Tensor got = f64(brain_correlation(golden.in("brain_voxels_avg"), golden.in("brain_beta_pred"), golden.in("brain_mask_" + region)));
    golden.expect("brain_corr_" + region, got, golden.tolerance("brain_corr"));
    golden.expect("brain_corr_mean_" + region, got.mean(0, true), golden.tolerance("brain_corr"));
  }
}

}  // namespace
}  // namespace me2::metrics
