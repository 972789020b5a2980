// What the processes of one training do together; see train/peers.h.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "base/error.h"
#include "base/signals.h"
#include "train/trainer.h"

namespace me2::train {

void Trainer::align_peers() {
  const c10::NoGradGuard no_grad;
  const at::Tensor place = at::tensor({position_, step_, -position_, -step_}, at::kLong), here = place.clone();
  peers_->broadcast(place);
  const at::Tensor differs = here.ne(place).sum();
  peers_->all_reduce(differs);
  if (differs.item<std::int64_t>() > 0)
    throw data_error("{}: the processes read different checkpoints there (rank 0 is at step {}, this one at {}): all must see the same files", partial(),
                     place[0].item<std::int64_t>(), position_);
  for (const auto& named : made_)
    if (named.tensor.is_contiguous()) peers_->broadcast(named.tensor.detach());
  for (const auto& parameter : optimizer_.parameters()) peers_->broadcast(parameter.tensor.detach());  // low-rank updates too
}

void Trainer::sum_gradients() {
  // In buckets: small tensors share a call, and no copy of all gradients is made at once.
  constexpr std::int64_t kBucket = std::int64_t{8} << 20;  // numbers
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> bucket;
  std::int64_t size = 0;
  const auto send = [&] {
    if (bucket.empty()) return;
    std::vector<at::Tensor> flat;
    for (const auto& gradient : bucket) flat.push_back(gradient.flatten());
    const at::Tensor all = at::cat(flat);
    peers_->all_reduce(all);
    std::int64_t first = 0;
    for (const auto& gradient : bucket) {
      gradient.copy_(all.narrow(0, first, gradient.numel()).view(gradient.sizes()));
      first += gradient.numel();
    }
    bucket.clear();
    size = 0;
  };
  for (const auto& parameter : optimizer_.parameters()) {
    const at::Tensor& gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;  // on all processes alike: each has rows of every subject
    bucket.push_back(gradient);
    if ((size += gradient.numel()) >= kBucket) send();
  }
  send();
}

bool Trainer::stop_asked() const {
  if (!together()) return stop_requested();
  const at::Tensor asked = at::tensor({stop_requested() ? 1.0 : 0.0}, at::kDouble);
  peers_->all_reduce(asked);
  return asked.item<double>() > 0;
}

}  // namespace me2::train
