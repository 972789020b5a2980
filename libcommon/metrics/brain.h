// Scores against measured brains: voxel-wise encoding correlation, repeat reliability, representational similarity.
// Refs: MindEye2 final_evaluations (GNet brain correlation); Spearman 1910 / Brown 1910; Nili et al. 2014 (RSA noise ceiling).
#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::metrics {

// Per image, Pearson over the voxels of a region between measured and predicted betas [n, voxels]; mask bool [voxels].
std::vector<double> brain_correlation(const at::Tensor& measured, const at::Tensor& predicted, const at::Tensor& mask);

struct Reliability {
  double split_half = 0;      // mean correlation between two repeats, over pairs of repeats and rows
  double spearman_brown = 0;  // of the mean of all repeats, predicted from it
  double ceiling = 0;         // sqrt(spearman_brown): the highest correlation a perfect model can reach with the mean
};
Reliability repeat_reliability(const at::Tensor& repeats);  // [n, repeats, values], 2 repeats or more

at::Tensor correlation_rdm(const at::Tensor& features);          // [n, F] -> f64 [n, n], 1 - Pearson
at::Tensor upper_triangle(const at::Tensor& rdm);                // [n, n] -> [n (n-1) / 2]
double spearman(const at::Tensor& a, const at::Tensor& b);       // average ranks for ties
struct RSA {
  std::vector<double> per_subject;     // Spearman of the model with each subject
  double mean = 0, ceiling_low = 0, ceiling_high = 0;
};
RSA rsa(const at::Tensor& model_rdm, const at::Tensor& subject_rdms);  // [n, n] against [subjects, n, n]

}  // namespace me2::metrics
