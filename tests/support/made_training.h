// Trainings of seconds on the made-up world of made_stores.h: subjects a (30 voxels) and b (25), 100 training trials in two sessions, each of
// another image, and 60 test trials of 20 images.
#pragma once
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/signals.h"
#include "base/temp.h"
#include "nn/device.h"
#include "support/made_stores.h"
#include "train/trainer.h"

namespace me2::test {

struct MadeTraining : testing::Test {
  TemporaryFolder folder;
  MadeWorld world;
  void SetUp() override {
    nn::set_threads(1);
    clear_stop();
    made_targets(at("targets.zarr"), world, true);
    made_subject(at("a.zarr"), world, "a", 30, 1);
    made_subject(at("b.zarr"), world, "b", 25, 2);
  }
  std::string at(const std::string& name) const { return folder.path() + "/" + name; }
  train::TrainOptions tiny(const std::string& model, std::vector<std::string> subjects = {"a"}) const {
    train::TrainOptions o;
    o.targets.path = at("targets.zarr");
    o.model.path = at(model);
    for (const auto& s : subjects) o.subjects.push_back({at(s + ".zarr")});
    o.hidden = 16;
    o.blocks = 1;
    o.prior_depth = 1;
    o.epochs = 4;
    o.no_lowlevel = true;
    o.max_lr = 3e-3;
    o.evaluate_interval = 0;
    return o;
  }
  static train::TrainContext context() {
    train::TrainContext c;
    c.batch_size = 20;
    return c;
  }
  static std::string trained(const train::TrainOptions& o, const train::TrainContext& c = context()) {
    train::Trainer(o, c).run();
    return read_file(o.model.path + "/model.safetensors");
  }
  static std::vector<double> loss_column(const std::string& model, const std::string& column = "loss") {
    std::istringstream lines(read_file(model + "/curves.csv"));
    std::string line, cell;
    std::getline(lines, line);
    std::istringstream head(line);
    std::size_t at = 0;
    while (std::getline(head, cell, ',') && cell != column) ++at;
    std::vector<double> out;
    while (std::getline(lines, line)) {
      std::istringstream row(line);
      for (std::size_t i = 0; i <= at; ++i) std::getline(row, cell, ',');
      out.push_back(std::stod(cell));
    }
    return out;
  }
  void expect_error(const train::TrainOptions& o, const std::string& text, const train::TrainContext& c = context()) {
    try {
      train::Trainer(o, c).run();
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
    EXPECT_FALSE(std::filesystem::exists(o.model.path));
  }
};

}  // namespace me2::test
