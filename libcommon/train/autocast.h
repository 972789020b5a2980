// Mixed precision for a scope: LibTorch's autocast for matrix products and convolutions, off again (and its cache of cast weights
// cleared) at the end of the scope. float32: nothing happens.
#pragma once
#include <ATen/autocast_mode.h>

namespace me2::train {

class Autocast {
 public:
  Autocast(at::Device device, at::ScalarType dtype) : type_(device.type()), on_(dtype != at::kFloat) {
    if (!on_) return;
    was_ = at::autocast::is_autocast_enabled(type_);
    was_dtype_ = at::autocast::get_autocast_dtype(type_);
    at::autocast::set_autocast_dtype(type_, dtype);
    at::autocast::set_autocast_enabled(type_, true);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!on_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, was_);
    at::autocast::set_autocast_dtype(type_, was_dtype_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType type_;
  bool on_, was_ = false;
  at::ScalarType was_dtype_ = at::kFloat;
};

// The loss scale of float16 training, as PyTorch's GradScaler with its defaults: doubled after 2,000 steps without overflow, halved on
// overflow, which also skips the optimizer and the schedule.
struct LossScale {
  double scale = 65536;
  std::int64_t good = 0;
  void update(bool finite) {
    if (!finite) scale /= 2, good = 0;
    else if (++good == 2000) scale *= 2, good = 0;
  }
};

}  // namespace me2::train
