// The contrastive losses of MindEye2 and the small measures printed beside them. Everything takes and returns plain tensors and is
// differentiable by autograd in its predictions (and in its targets: the reference does not detach them).
// Rows are samples; callers l2-normalise the flattened [tokens * width] vectors first (normalised_rows).
// Sources: "paper" is Scotti et al. 2024, section 2.3 and appendix; the formulas follow the reference's utils.py.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace me2::train {

at::Tensor normalised_rows(const at::Tensor& x);  // [B, ...] -> [B, n], each row of length 1 (the length is floored at 1e-12)

// What MixCo drew for one batch. perm i64 [B], betas [B] (1 where not selected), select bool [B].
struct Mix {
  at::Tensor perm, betas, select;
};

// Draws perm, then betas ~ Beta(beta, beta), then select (uniform <= threshold), in the reference's order.
Mix draw_mix(std::int64_t batch, at::Generator generator, double beta = 0.15, double threshold = 0.5);

// voxels[i] b[i] + voxels[perm[i]] (1 - b[i]) for selected i, from the unmixed voxels; others as they are. voxels [B, ...].
// The reference changes voxels and betas in place; here both come back new (mix.betas of unselected rows are set to 1).
at::Tensor mixco(const at::Tensor& voxels, Mix& mix);

// Concatenates the mixes of several subjects' parts of a batch.
// Fidelity: the reference joins the permutations WITHOUT adding the row offset of each part, so rows of later subjects point at
// columns of the first subject. `corrected` adds the offset.
Mix join(const std::vector<Mix>& parts, bool corrected = false);

// Cross-entropy against the mixing weights: Q = diag(b), then Q[i, perm[i]] = 1 - b[i].
// Fidelity: where perm[i] == i the assignment overwrites the diagonal (0 for unselected rows). `corrected` adds instead, so that
// every row of Q sums to 1. Without a mix the target is the diagonal.
at::Tensor mixco_nce(const at::Tensor& predictions, const at::Tensor& targets, double temperature,
                     const std::optional<Mix>& mix = {}, bool bidirectional = true, bool corrected = false);

// Soft labels softmax(T T' / temperature), used for both directions.
at::Tensor soft_clip(const at::Tensor& predictions, const at::Tensor& targets, double temperature = 0.125);

// Patches of the low-level head against ConvNeXt patches of the clean (teacher) and the augmented (teacher_aug) image. All [rows, width].
at::Tensor soft_cont(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& teacher_aug, double temperature);

// SigLIP variants of the reference (unused by its training): `log_temperature` and `bias` are scalars that may require gradients.
at::Tensor soft_siglip(const at::Tensor& predictions, const at::Tensor& targets, const at::Tensor& log_temperature, const at::Tensor& bias);
at::Tensor mixco_hard_siglip(const at::Tensor& predictions, const at::Tensor& targets, const at::Tensor& log_temperature,
                             const at::Tensor& bias, const Mix& mix);
at::Tensor mixco_clip_target(const at::Tensor& targets, const Mix& mix);  // [B, n], mixed like the voxels

// end + (start - end)/2 (1 + cos(pi i/(n - 1))), i = 0..n-1; one value is `start`.
std::vector<double> cosine_anneal(double start, double end, std::int64_t n);

// Fidelity: as in the reference, ROWS of the result are `b` and columns are `z`.
at::Tensor batchwise_cosine_similarity(const at::Tensor& z, const at::Tensor& b);   // [nb, nz]
at::Tensor batchwise_pearson_correlation(const at::Tensor& z, const at::Tensor& b);  // rows are z: [nz, nb]
at::Tensor centred_cosine_similarity(const at::Tensor& z, const at::Tensor& b, double share_of_mean);  // [nb, nz]
double topk(const at::Tensor& similarities, const at::Tensor& labels, std::int64_t k);  // share of rows whose label is among the k largest

// Retrieval inside a batch, in the reference's names. forward: each image asks among brains; backward: each brain among images.
struct Retrieval {
  double forward = 0, backward = 0;
};
Retrieval retrieval(const at::Tensor& voxels, const at::Tensor& targets);  // both [B, n], normalised

}  // namespace me2::train
