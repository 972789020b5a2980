// `me2-embed train`: the whole joint training of ridge, backbone, heads and prior, from stores to a model directory.
//
// While it runs everything lives in MODEL.partial/: last/ is the newest checkpoint as a model directory, resume.safetensors what is needed to go
// on (weights, optimizer, averages, best weights, position, curves; one file, replaced in one rename), curves.csv and curves.svg the record.
// At the end last/ becomes MODEL. All draws are functions of (seed, what, where): an interrupted and resumed training gives
// the same weights as an uninterrupted one, byte for byte on the CPU with the same number of threads.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "train/autocast.h"
#include "train/curves.h"
#include "train/mindeye_step.h"
#include "train/one_cycle.h"
#include "base/work.h"
#include "train/parameters.h"
#include "train/train_options.h"
#include "train/training_data.h"
#include "train/training_folder.h"

namespace me2::train {

struct TrainContext {  // what the command line's common options say
  std::uint64_t seed = 42;
  std::int64_t batch_size = 0;  // of all subjects together; 0: 24 for one subject, 42 for several (paper)
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // of autocast
  bool resume = false, overwrite = false, dry_run = false;
  std::string config_digest;   // of everything that decides the result; resume refuses a .partial of another
  std::string provenance;      // JSON, into config.json
};

// From the names of the common options: opens the device and sets the number of threads.
TrainContext make_context(const std::string& device, const std::string& dtype, int threads, std::uint64_t seed, std::int64_t batch_size, bool plan = false);

// A training that ended before: with --resume there is nothing to do.
bool finished_before(const std::string& model, const TrainContext& context);

class Trainer {
 public:
  // Checks everything, reads the data, makes or resumes the model. With peers all processes train the same model on their shares of each
  // batch, with the results of one process up to rounding; rank 0 alone writes, and all must see the same files.
  Trainer(const TrainOptions& options, const TrainContext& context, Peers* peers = nullptr);
  ~Trainer();
  std::string plan() const;  // JSON: sizes, steps, parameters
  Work work() const;         // of all steps; the device is meta
  // Exit::temp_fail when a signal came (resumable), Exit::data when the loss is not finite. Returns the last row as JSON text.
  std::string run();
  std::map<std::string, at::Tensor> weights() const;  // as they would be saved
  std::int64_t steps_done() const { return step_; }

 private:
  struct Sums {
    double loss = 0, prior = 0, clip = 0, blurry = 0, cont = 0, cossim = 0, mse = 0, forward = 0, backward = 0;
    std::int64_t count = 0;
  };
  void load_data();
  void build_model();
  void build_optimizer();
  models::MindEyeConfig fresh_config() const;
  std::map<std::string, at::Tensor> effective(bool averaged) const;
  Batch batch_at(std::int64_t epoch, std::int64_t iteration, const std::vector<std::vector<std::int64_t>>& order, Draws& draws) const;
  void step_once(std::int64_t epoch, std::int64_t step_in_epoch, const std::vector<std::vector<std::int64_t>>& order);
  std::pair<Retrieval, double> test() const;
  double holdout_loss() const;
  bool end_epoch(std::int64_t epoch);  // true: stop early
  [[noreturn]] void leave();  // after a signal: checkpoint, Exit::temp_fail
  void checkpoint(bool with_model);
  void write_checkpoint(bool with_model);
  void restore();
  void finish();
  Rate rate() const;
  bool writes() const { return !peers_ || peers_->rank() == 0; }
  bool together() const { return peers_ && peers_->size() > 1; }
  void align_peers();       // everybody starts from rank 0's weights
  void sum_gradients();     // over the processes
  bool stop_asked() const;  // by a signal to any process
  std::string partial() const { return options_.model.path + ".partial"; }
  at::Generator generator(const std::string& what, std::int64_t where, bool on_device) const;
  Json config_json() const;

  TrainOptions options_;
  TrainContext context_;
  Peers* peers_ = nullptr;
  StepSettings settings_;
  std::vector<SubjectTrials> subjects_;
  std::vector<std::int64_t> held_out_;  // of the first subject
  std::unique_ptr<Targets> targets_;
  std::int64_t per_subject_ = 0, iterations_ = 0, steps_per_epoch_ = 0, total_steps_ = 0;
  bool lowlevel_ = false, cnx_ = false;

  models::MindEyeConfig config_;
  std::vector<nn::Named> made_;
  std::optional<models::MindEye> model_;
  LowRank low_rank_;
  AdamW optimizer_;
  Average average_;
  LossScale loss_scale_;
  std::map<std::string, at::Tensor> best_;
  double best_loss_ = 0;
  std::int64_t best_epoch_ = -1;

  std::int64_t step_ = 0;       // optimizer steps taken (skipped ones are not counted)
  std::int64_t position_ = 0;   // steps attempted: epoch = position / steps_per_epoch
  Sums sums_;
  std::vector<CurveRow> rows_;
  TrainingFolder folder_;
  bool done_ = false;
};

}  // namespace me2::train
