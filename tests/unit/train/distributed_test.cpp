// Several processes, here as threads of one: each has its own group, its own model, and talks to the others over c10d on 127.0.0.1.
// That the sums come out right is also the guard on libgloo-dev's headers fitting the wheel's library.
#include "train/distributed.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/signals.h"
#include "base/temp.h"
#include "nn/device.h"
#include "support/files.h"
#include "support/made_stores.h"
#include "train/trainer.h"

namespace me2::train {
namespace {

int free_port(int& fd) {
  fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(fd, 16), 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

void with_peers(int size, const std::function<void(Peers&)>& body) {
  int listen = -1;
  const int port = free_port(listen);
  std::vector<std::thread> threads;
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      nn::set_threads(1);
      try {
        World world;
        world.rank = r, world.size = size, world.port = port, world.listen = r == 0 ? listen : -1, world.start_seconds = 30;
        const auto peers = join_peers(world);
        body(*peers);
        peers->leave();
      } catch (const std::exception& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) EXPECT_EQ(error, "");
}

TEST(Distributed, SumsBroadcastsAndUnequalGathersAreRight) {
  for (const int size : {2, 3})
    with_peers(size, [size](Peers& peers) {
      const auto r = peers.rank();
      for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
        const at::Tensor sum = (at::arange(100000) + r).to(type);
        peers.all_reduce(sum);
        EXPECT_TRUE(sum.equal((at::arange(100000) * size + size * (size - 1) / 2).to(type)));
      }
      const at::Tensor same = at::full({3, 4}, r + 5.f);
      peers.broadcast(same);
      EXPECT_TRUE(same.equal(at::full({3, 4}, 5.f)));
      std::vector<std::int64_t> rows;
      for (int k = 0; k < size; ++k) rows.push_back(k + 1);
      const auto parts = peers.all_gather(at::full({r + 1, 2}, static_cast<float>(r)), rows);
      for (int k = 0; k < size; ++k) EXPECT_TRUE(parts[static_cast<std::size_t>(k)].equal(at::full({k + 1, 2}, static_cast<float>(k))));
    });
}

TEST(Distributed, SharesCoverTheJoinedBatchOnceAndComeBackInItsOrder) {
  const std::vector<std::int64_t> rows{5, 7};
  std::vector<at::Tensor> parts;
  const at::Tensor all = at::arange(12);
  for (int r = 0; r < 3; ++r) parts.push_back(Share(rows, r, 3).mine(all));
  EXPECT_TRUE(Share(rows, 1, 3).join(parts).equal(all));
  EXPECT_EQ(Share(rows, 1, 3).counts(), (std::vector<std::int64_t>{3, 4, 5}));  // 5 in 1, 2, 2; 7 in 2, 2, 3
  ME2_EXPECT_ERROR(Share({5, 2}, 0, 3), Exit::usage, "2 samples", "3 processes");
}

TEST(Distributed, TheFirstHostOfANodeList) {
  EXPECT_EQ(first_host("gpu[07-09,12],login"), "gpu07");
  EXPECT_EQ(first_host("gpu[3,5]"), "gpu3");
  EXPECT_EQ(first_host("a,b[1-2]"), "a");
  EXPECT_EQ(first_host("alone"), "alone");
}

struct Variables {
  std::vector<std::string> names;
  Variables(std::initializer_list<std::pair<const char*, const char*>> values) {
    for (const char* name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) ::unsetenv(name);
    for (const auto& [name, value] : values) ::setenv(name, value, 1), names.push_back(name);
  }
  ~Variables() {
    for (const auto& name : names) ::unsetenv(name.c_str());
  }
};

TEST(Distributed, TheLauncherIsKnownByItsVariables) {
  {
    const Variables none{};
    EXPECT_EQ(world_from_environment().size, 1);
  }
  {
    const Variables torchrun{{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "head"}, {"MASTER_PORT", "1234"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
    const auto world = world_from_environment();
    EXPECT_EQ(world.rank, 1);
    EXPECT_EQ(world.size, 4);
    EXPECT_EQ(world.host, "head");
    EXPECT_EQ(world.port, 1234);
    EXPECT_TRUE(world.agent_serves);
  }
  {
    const Variables srun{{"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_LOCALID", "3"}, {"SLURM_STEP_NODELIST", "n[2-3]"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "0"}};
    const auto world = world_from_environment();
    EXPECT_EQ(world.rank, 3);
    EXPECT_EQ(world.size, 8);
    EXPECT_EQ(world.local_rank, 3);
    EXPECT_EQ(world.host, "n2");
  }
  {
    const Variables batch_script{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}};  // nobody started eight
    EXPECT_EQ(world_from_environment().size, 1);
  }
  const Variables wrong{{"RANK", "4"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "head"}, {"MASTER_PORT", "1234"}};
  ME2_EXPECT_ERROR(world_from_environment(), Exit::usage, "process 4 of 4");
  ::setenv("WORLD_SIZE", "many", 1);
  ME2_EXPECT_ERROR(world_from_environment(), Exit::usage, "WORLD_SIZE", "many");
}

TEST(Distributed, AnAbsentProcessIsAnErrorInTime) {
  int listen = -1;
  World world;
  world.port = free_port(listen);
  world.rank = 0, world.size = 2, world.listen = listen, world.start_seconds = 1;
  ME2_EXPECT_ERROR(join_peers(world), Exit::temp_fail, "process 0 of 2", "not all of them");
}

// The gradients and losses of one step, shared by two and three processes, against one process on the joined batch; every term of the loss,
// dropout, BiMixCo and SoftCLIP, batches that do not divide evenly.
TEST(Distributed, GradientsEqualThoseOfOneProcessOnTheJoinedBatch) {
  nn::set_threads(1);
  models::MindEyeConfig config;
  config.voxels = {9, 7};
  config.backbone.hidden = 16;
  config.backbone.blocks = 2;
  config.backbone.tokens = 4;
  config.backbone.width = 12;
  config.backbone.lowlevel = true;
  config.backbone.head.grid = 2;
  config.backbone.head.aux_width = 16;
  config.match_prior(1, 2, 6);
  constexpr std::int64_t kRows = 5;  // of each subject
  const auto random = [](at::IntArrayRef shape, std::uint64_t seed) { return at::randn(shape, test::made_generator(seed)); };
  const auto step = [&](bool mixing, Peers* peers, StepLoss& loss) {
    nn::Initialiser source(3);
    const models::MindEye model(source, config);
    const Share share = peers ? Share({kRows, kRows}, peers->rank(), peers->size()) : Share();
    Batch batch{{0, 1}, {random({kRows, 9}, 1), random({kRows, 7}, 2)}, share.mine(random({2 * kRows, 4, 12}, 3)), {}, {}, {}};
    batch.vae_latent = share.mine(random({2 * kRows, config.backbone.head.latent_channels, config.backbone.head.latent_size(), config.backbone.head.latent_size()}, 4));
    batch.cnx = share.mine(random({2 * kRows, 4, 16}, 5));
    batch.cnx_aug = share.mine(random({2 * kRows, 4, 16}, 6));
    Draws draws;
    if (mixing) draws.mix = {draw_mix(kRows, test::made_generator(7)), draw_mix(kRows, test::made_generator(8))};
    auto prior = model.diffusion_prior->draw(at::empty({2 * kRows, 4, 12}), .2, .2, test::made_generator(9));
    draws.prior = {share.mine(prior.times), share.mine(prior.noise), share.mine(prior.brain_uniform), share.mine(prior.image_uniform)};
    const nn::Training training{test::made_generator(10)};
    draws.dropout = &training;
    loss = mindeye_step(model, batch, draws, {}, peers);
    loss.total.backward();
    std::map<std::string, at::Tensor> gradients;
    for (const auto& named : source.made())
      if (named.tensor.grad().defined()) {
        gradients[named.name] = named.tensor.grad().contiguous();
        if (peers) peers->all_reduce(gradients[named.name]);
      }
    return gradients;
  };
  for (const bool mixing : {true, false}) {
    StepLoss whole;
    const auto want = step(mixing, nullptr, whole);
    EXPECT_GT(want.size(), 30u);
    for (const int size : {2, 3})
      with_peers(size, [&](Peers& peers) {
        StepLoss loss;
        const auto got = step(mixing, &peers, loss);
        EXPECT_EQ(got.size(), want.size());
        for (const auto& [name, gradient] : want) {
          // The gain of a norm over one element has no gradient in exact arithmetic: rounding noise, as in the golden case train_steps.
          const double noise = name.find("mixer_blocks2") != std::string::npos && name.ends_with(".0.weight") ? 1e-3 : 0;
          EXPECT_LE((got.at(name) - gradient).abs().max().item<double>(), noise + 1e-5 * std::max(1.0, gradient.abs().max().item<double>())) << name;
        }
        const auto near = [](double a, double b, const char* what) { EXPECT_NEAR(a, b, 1e-5 * std::max(1.0, std::abs(b))) << what; };
        near(loss.loss, whole.loss, "loss"), near(loss.prior, whole.prior, "prior"), near(loss.clip, whole.clip, "clip");
        near(loss.blurry, whole.blurry, "blurry"), near(loss.cont, whole.cont, "cont"), near(loss.recon_mse, whole.recon_mse, "mse");
        near(loss.recon_cossim, whole.recon_cossim, "cossim"), near(loss.retrieval.forward, whole.retrieval.forward, "forward");
      });
  }
}

// A whole training: two processes end where one does, and what either left is gone on with by the other.
TEST(Distributed, TwoProcessesTrainAsOneAndResumeEachOthersCheckpoints) {
  const TemporaryFolder folder;
  const test::MadeWorld world;
  nn::set_threads(1);
  clear_stop();
  const auto at = [&](const std::string& name) { return folder.path() + "/" + name; };
  test::made_targets(at("targets.zarr"), world, true);
  test::made_subject(at("a.zarr"), world, "a", 30, 1);
  test::made_subject(at("b.zarr"), world, "b", 25, 2);
  const auto options = [&](const std::string& model) {
    TrainOptions o;
    o.targets.path = at("targets.zarr");
    o.model.path = at(model);
    o.subjects = {{at("a.zarr")}, {at("b.zarr")}};
    o.hidden = 16, o.blocks = 1, o.prior_depth = 1, o.epochs = 4, o.max_lr = 1e-3, o.early_stop = 4, o.clip_gradient = 1, o.ema = .9;
    return o;
  };
  TrainContext context;
  context.batch_size = 18;
  const auto losses = [&](const std::string& model) {
    std::vector<double> out;
    const Json curve = read_json_file(at(model) + "/config.json").at("last");
    for (const char* name : {"loss", "loss_prior", "loss_clip", "loss_blurry", "holdout_loss", "test_image_retrieval"}) out.push_back(curve.at(name).get<double>());
    return out;
  };
  const auto expect_same = [&](const std::string& one, const std::string& other) {
    const auto a = losses(one), b = losses(other);
    for (std::size_t i = 0; i + 1 < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4 * std::max(1.0, std::abs(a[i]))) << other << " " << i;
    EXPECT_NEAR(a.back(), b.back(), 0.11);  // a near tie may fall the other way
  };
  Trainer(options("one"), context).run();
  with_peers(2, [&](Peers& peers) { Trainer(options("two"), context, &peers).run(); });
  expect_same("one", "two");
  EXPECT_FALSE(std::filesystem::exists(at("two.partial")));

  request_stop(15);  // after one step
  with_peers(2, [&](Peers& peers) { EXPECT_THROW(Trainer(options("two-one"), context, &peers).run(), Error); });
  clear_stop();
  TrainContext resumed = context;
  resumed.resume = true;
  Trainer(options("two-one"), resumed).run();
  expect_same("one", "two-one");

  request_stop(15);
  EXPECT_THROW(Trainer(options("one-two"), context).run(), Error);
  clear_stop();
  with_peers(2, [&](Peers& peers) { Trainer(options("one-two"), resumed, &peers).run(); });
  expect_same("one", "one-two");
}

}  // namespace
}  // namespace me2::train
