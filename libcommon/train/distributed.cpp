#include "train/distributed.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/error.h"
#include "base/log.h"

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace me2::train {
namespace {

using Store = c10::intrusive_ptr<c10d::Store>;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int whole_number(const char* name, int least) {
  const std::string text = variable(name);
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || value < least || value > 2147483647) throw usage_error("the variable {} says \"{}\", a number from {} expected", name, text, least);
  return static_cast<int>(value);
}

[[noreturn]] void ended(const std::string& what, const std::exception& e) {
  const std::string text = e.what();
  throw Error(Exit::temp_fail, fmt::format("{}: another process of this training has ended or is out of reach ({})", what, text.substr(0, std::min<std::size_t>(200, text.find('\n')))));
}

std::vector<std::uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

// NCCL by its C interface, which has kept its shape since version 2.0: no header of it is needed, and no CUDA at build time.
class Nccl {
 public:
  // Null where the library is not there.
  static std::unique_ptr<Nccl> open(c10d::Store& store, int rank, int size, c10::Device device) {
    void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_GLOBAL);
    if (!library) return nullptr;
    auto out = std::unique_ptr<Nccl>(new Nccl(library, device, size));
    Id id{};
    if (rank == 0) {
      out->check(out->unique_id_(&id));
      store.set("nccl", std::string(id.data(), id.size()));
    } else {
      const auto sent = store.get("nccl");
      std::copy(sent.begin(), sent.begin() + static_cast<std::ptrdiff_t>(std::min(sent.size(), id.size())), id.begin());
    }
    const c10::DeviceGuard on(device);
    struct ById { Id id; };  // passed by value, as the C struct of 128 bytes that it is
    out->check(reinterpret_cast<int (*)(void**, int, ById, int)>(out->symbol("ncclCommInitRank"))(&out->communicator_, size, {id}, rank));
    return out;
  }
  void all_reduce(const at::Tensor& t) { check(all_reduce_(t.data_ptr(), t.data_ptr(), size_of(t), type(t), /*sum*/ 0, communicator_, stream())); }
  void broadcast(const at::Tensor& t) { check(broadcast_(t.data_ptr(), t.data_ptr(), size_of(t), type(t), 0, communicator_, stream())); }
  at::Tensor all_gather(const at::Tensor& t) {  // [n, ...] -> [size, n, ...]
    auto shape = t.sizes().vec();
    shape.insert(shape.begin(), size_);
    at::Tensor out = at::empty(shape, t.options());
    check(all_gather_(t.data_ptr(), out.data_ptr(), size_of(t), type(t), communicator_, stream()));
    return out;
  }

 private:
  using Id = std::array<char, 128>;
  Nccl(void* library, c10::Device device, int size) : library_(library), device_(device), size_(size) {
    const auto set = [&](auto& function, const char* name) { function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol(name)); };
    set(unique_id_, "ncclGetUniqueId");
    set(all_reduce_, "ncclAllReduce");
    set(broadcast_, "ncclBroadcast");
    set(all_gather_, "ncclAllGather");
    set(error_, "ncclGetErrorString");
  }
  void* symbol(const char* name) const {
    void* found = ::dlsym(library_, name);
    if (!found) throw Error(Exit::unavailable, fmt::format("libnccl.so.2 has no {}", name));
    return found;
  }
  void check(int result) const {
    if (result != 0) throw std::runtime_error(fmt::format("NCCL: {}", error_(result)));
  }
  static std::size_t size_of(const at::Tensor& t) { return static_cast<std::size_t>(t.numel()); }
  static int type(const at::Tensor& t) {
    switch (t.scalar_type()) {
      case at::kByte: case at::kBool: return 1;
      case at::kInt: return 2;
      case at::kLong: return 4;
      case at::kHalf: return 6;
      case at::kFloat: return 7;
      case at::kDouble: return 8;
      case at::kBFloat16: return 9;
      default: throw Error(Exit::internal, "NCCL: no such type");
    }
  }
  void* stream() const { return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).native_handle(); }

  void* library_;
  c10::Device device_;
  int size_;
  void* communicator_ = nullptr;  // kept until the process ends: destroying one whose peers are gone can hang
  int (*unique_id_)(void*) = nullptr;
  int (*all_reduce_)(const void*, void*, std::size_t, int, int, void*, void*) = nullptr;
  int (*broadcast_)(const void*, void*, std::size_t, int, int, void*, void*) = nullptr;
  int (*all_gather_)(const void*, void*, std::size_t, int, void*, void*) = nullptr;
  const char* (*error_)(int) = nullptr;
};

// Says "alive" every second and listens to the others.
class Watch {
 public:
  Watch(Store store, const World& world) : store_(std::move(store)), world_(world), thread_([this] { run(); }) {}
  ~Watch() { stop(); }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      stopped_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  static std::string key(int rank) { return fmt::format("alive/{}", rank); }

 private:
  void run() {
    std::vector<std::vector<std::uint8_t>> last(static_cast<std::size_t>(world_.size));
    // Seconds that this thread itself has seen pass: a machine that was suspended, or too busy for any of us, ends nobody.
    std::vector<int> silent(last.size(), 0);
    std::vector<std::string> keys;
    for (int r = 0; r < world_.size; ++r) keys.push_back(key(r));
    for (int beat = 1;; ++beat) {
      {
        std::unique_lock lock(mutex_);
        if (wake_.wait_for(lock, std::chrono::seconds(1), [&] { return stopped_; })) return;
      }
      try {
        store_->set(key(world_.rank), bytes(std::to_string(beat)));
        if (store_->check({"failed"})) {
          const auto why = store_->get("failed");
          end(std::string(why.begin(), why.end()));
        }
        const auto now = store_->multiGet(keys);
        for (std::size_t r = 0; r < now.size(); ++r) {
          if (now[r] != last[r]) last[r] = now[r], silent[r] = 0;
          else if (++silent[r] > world_.silence_seconds)
            end(fmt::format("process {} of {} has shown no sign of life for {:g} s", r, world_.size, world_.silence_seconds));
        }
      } catch (const std::exception&) {
        end("process 0 is gone");
      }
    }
  }
  void end(const std::string& why) {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
    }
    log_failure(Error(Exit::temp_fail, why + ": --resume goes on from the last checkpoint"));
    ::_exit(static_cast<int>(Exit::temp_fail));
  }

  Store store_;
  World world_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::thread thread_;
};

class C10dPeers : public Peers {
 public:
  C10dPeers(const World& world, c10::Device device) : world_(world) {
    const auto milliseconds = [](double seconds) { return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)); };
    const auto connect = [&](bool serve) -> Store {
      c10d::TCPStoreOptions options;
      options.port = static_cast<std::uint16_t>(world.port);
      options.isServer = serve;
      options.waitWorkers = false;
      options.timeout = milliseconds(world.start_seconds);
      if (serve && world.listen >= 0) options.masterListenFd = world.listen, options.useLibUV = false;
      return c10::make_intrusive<c10d::PrefixStore>(world.prefix, c10::make_intrusive<c10d::TCPStore>(world.host, options));
    };
    try {
      store_ = connect(world.rank == 0 && !world.agent_serves);
      store_->set(Watch::key(world.rank), bytes("0"));
      std::vector<std::string> everybody;
      for (int r = 0; r < world.size; ++r) everybody.push_back(Watch::key(r));
      store_->wait(everybody, milliseconds(world.start_seconds));  // Gloo itself would wait as long as for a sum
      char name[256] = {};
      ::gethostname(name, sizeof name - 1);
      store_->set(fmt::format("device/{}", world.rank), bytes(fmt::format("{} {}", name, device.str())));
      auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::minutes(60));  // others evaluate, or write checkpoints
      const std::string interface = variable("GLOO_SOCKET_IFNAME");
      if (!interface.empty()) options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
      else if (world.host == "127.0.0.1" || world.host == "localhost") options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
      else options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store_), world.rank, world.size, options);
      gloo_->barrier()->wait();
      if (device.is_cuda()) {
        std::set<std::vector<std::uint8_t>> devices;
        for (int r = 0; r < world.size; ++r) devices.insert(store_->get(fmt::format("device/{}", r)));
        if (static_cast<int>(devices.size()) == world.size) nccl_ = Nccl::open(*store_, world.rank, world.size, device);
        if (!nccl_) log_info("{}: sums go through host memory", static_cast<int>(devices.size()) == world.size ? "libnccl.so.2 is not there" : "processes share a GPU");
      }
      watch_ = std::make_unique<Watch>(connect(false), world);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      const std::string text = e.what();
      throw Error(Exit::temp_fail, fmt::format("process {} of {}: not all of them came together at {} port {} within {:g} s ({})", world.rank, world.size,
                                               world.host, world.port, world.start_seconds, text.substr(0, std::min<std::size_t>(200, text.find('\n')))));
    }
  }

  int rank() const override { return world_.rank; }
  int size() const override { return world_.size; }

  void all_reduce(const at::Tensor& tensor) override {
    in_place(tensor, [&](std::vector<at::Tensor>& host) { gloo_->allreduce(host)->wait(); }, [&] { nccl_->all_reduce(tensor); });
  }
  void broadcast(const at::Tensor& tensor) override {
    in_place(tensor, [&](std::vector<at::Tensor>& host) { gloo_->broadcast(host)->wait(); }, [&] { nccl_->broadcast(tensor); });
  }
  std::vector<at::Tensor> all_gather(const at::Tensor& local, const std::vector<std::int64_t>& rows) override {
    const at::NoGradGuard no_grad;
    const auto most = *std::max_element(rows.begin(), rows.end());
    auto shape = local.sizes().vec();
    shape[0] = most;
    const bool on_host = local.is_cpu() || !nccl_;
    at::Tensor padded = at::zeros(shape, on_host ? local.options().device(at::kCPU) : local.options());
    padded.narrow(0, 0, local.size(0)).copy_(local);
    std::vector<at::Tensor> out;
    try {
      if (on_host) {
        std::vector<at::Tensor> in{padded};
        std::vector<std::vector<at::Tensor>> parts(1);
        for (int r = 0; r < world_.size; ++r) parts[0].push_back(at::empty_like(padded));
        gloo_->allgather(parts, in)->wait();
        out = parts[0];
      } else {
        out = nccl_->all_gather(padded).unbind();
      }
    } catch (const std::exception& e) {
      ended("exchange of embeddings", e);
    }
    for (std::size_t r = 0; r < out.size(); ++r) out[r] = out[r].narrow(0, 0, rows[r]).to(local.device());
    return out;
  }
  void barrier() override {
    try {
      gloo_->barrier()->wait();
    } catch (const std::exception& e) {
      ended("waiting for the others", e);
    }
  }
  void leave() override {
    barrier();
    watch_->stop();
    left_ = true;
    barrier();  // rank 0 serves the store that the others' watches ask
  }
  void fail(const std::string& why) noexcept override {
    if (left_) return;
    try {
      watch_->stop();
      store_->set("failed", bytes(fmt::format("process {} of {} has ended: {}", world_.rank, world_.size, why)));
      if (world_.rank == 0 && !world_.agent_serves) std::this_thread::sleep_for(std::chrono::seconds(2));  // so that the others can read it here
    } catch (const std::exception&) {
      return;  // nobody is left to tell
    }
  }

 private:
  void in_place(const at::Tensor& tensor, const std::function<void(std::vector<at::Tensor>&)>& on_host, const std::function<void()>& on_device) {
    const at::NoGradGuard no_grad;
    try {
      if (tensor.is_cpu() || !nccl_) {
        std::vector<at::Tensor> host{tensor.cpu()};
        on_host(host);
        if (!tensor.is_cpu()) tensor.copy_(host[0]);
      } else {
        on_device();
      }
    } catch (const std::exception& e) {
      ended("exchange of gradients", e);
    }
  }

  World world_;
  bool left_ = false;
  Store store_;  // outlives the group
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::unique_ptr<Nccl> nccl_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace

std::string first_host(const std::string& list) {
  const auto bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  return list.substr(0, bracket) + list.substr(bracket + 1, list.find_first_of("-,]", bracket + 1) - bracket - 1);
}

World world_from_environment() {
  World world;
  if (!variable("RANK").empty() && !variable("WORLD_SIZE").empty()) {
    world.size = whole_number("WORLD_SIZE", 1);
    world.rank = whole_number("RANK", 0);
    world.local_rank = variable("LOCAL_RANK").empty() ? 0 : whole_number("LOCAL_RANK", 0);
    if (world.size > 1) {
      world.port = whole_number("MASTER_PORT", 1);
      world.host = variable("MASTER_ADDR");
      if (world.host.empty()) throw usage_error("the variable MASTER_ADDR is not set, RANK and WORLD_SIZE are");
      world.agent_serves = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
      if (!variable("ME2_LISTEN_FD").empty()) world.listen = whole_number("ME2_LISTEN_FD", 3);
      world.prefix = "me2/" + variable("TORCHELASTIC_RESTART_COUNT");
    }
  } else if (!variable("SLURM_STEP_NUM_TASKS").empty() && !variable("SLURM_PROCID").empty()) {
    // Of a step: in a batch script SLURM_NTASKS is set too, although nobody has started that many processes.
    world.size = whole_number("SLURM_STEP_NUM_TASKS", 1);
    world.rank = whole_number("SLURM_PROCID", 0);
    world.local_rank = variable("SLURM_LOCALID").empty() ? 0 : whole_number("SLURM_LOCALID", 0);
    if (world.size > 1) {
      const std::string nodes = variable("SLURM_STEP_NODELIST"), address = variable("MASTER_ADDR");
      const bool one_host = variable("SLURM_STEP_NUM_NODES") == "1" || nodes.empty();
      world.host = !address.empty() ? address : one_host ? "127.0.0.1" : first_host(nodes);
      const int job = variable("SLURM_JOB_ID").empty() ? 0 : whole_number("SLURM_JOB_ID", 0);
      const int step = variable("SLURM_STEP_ID").empty() ? 0 : std::atoi(variable("SLURM_STEP_ID").c_str());
      world.port = variable("MASTER_PORT").empty() ? 15000 + (job % 15000 * 7 + step % 7) % 15000 : whole_number("MASTER_PORT", 1);
    }
  }
  if (world.rank >= world.size) throw usage_error("this is said to be process {} of {}, counted from 0", world.rank, world.size);
  return world;
}

std::unique_ptr<Peers> join_peers(const World& world, c10::Device device) { return std::make_unique<C10dPeers>(world, device); }

}  // namespace me2::train
