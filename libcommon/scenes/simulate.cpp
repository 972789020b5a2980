#include "scenes/simulate.h"

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/signals.h"
#include "store/stage.h"
#include "store/subject.h"

namespace me2::scenes {
namespace {

namespace fs = std::filesystem;

// Scenes made to train image models must never be scenes that a simulated subject is tested on.
constexpr std::uint64_t kScenesOnlySeed = 0x5CE4E5;

SimulationOptions checked(const SimulateOptions& o, std::uint64_t seed) {
  const auto positive = [](const char* name, double value) {
    if (!(value > 0)) throw usage_error("{} {}: a number above 0 expected", name, value);
  };
  positive("--subjects", o.subjects), positive("--sessions", o.sessions), positive("--trials-per-session", o.trials_per_session);
  positive("--repeats", o.repeats), positive("--voxel-scale", o.voxel_scale), positive("--side", o.side);
  if (o.side % 16 || o.side > 1024) throw usage_error("--side {}: a multiple of 16 up to 1024 expected", o.side);
  if (o.test_images < 0 || o.validation_images < 0 || o.scenes_only < 0) throw usage_error("numbers of images cannot be negative");
  if (o.subjects > 99) throw usage_error("--subjects {}: at most 99", o.subjects);
  SimulationOptions s;
  s.seed = seed;
  s.subjects = o.subjects, s.sessions = o.sessions, s.trials_per_session = o.trials_per_session, s.repeats = o.repeats;
  s.test_images = o.test_images, s.validation_images = o.validation_images, s.voxel_scale = o.voxel_scale, s.side = o.side;
  return s;
}

// Of the stores in the folder: the folder's own .partial answers for --overwrite.
store::WriteOptions write_options(const ingest::Context& context) {
  store::WriteOptions w = context.write;
  w.overwrite = false;
  return w;
}

void write_stimuli(const std::string& path, std::int64_t count, std::uint64_t seed, int side, const ingest::Context& context) {
  store::StageSpec spec;
  spec.kind = "stimuli";
  for (std::int64_t i = 0; i < count; ++i) spec.stimulus.push_back(static_cast<std::int32_t>(i));
  using store::DType;
  spec.arrays = {{"image", {3, side, side}, DType::u1, {"channel", "y", "x"}, "1", "RGB image, 0 to 255"},
                 {"segmentation", {side, side}, DType::u1, {"y", "x"}, "1", "0 background, 1 main object, 2 second object"},
                 {"name", {}, DType::str, {}, "1", "name of the scene"},
                 {"caption", {3}, DType::str, {"caption"}, "1", "captions"},
                 {"category", {}, DType::i2, {}, "1", "main object, index into the attribute category_names"},
                 {"colour", {}, DType::i2, {}, "1", "its colour, index into colour_names"},
                 {"background", {}, DType::i2, {}, "1", "index into background_names"},
                 {"second_category", {}, DType::i2, {}, "1", "second object, -1 none"},
                 {"place", {3}, DType::f4, {"x_y_radius"}, "image side", "centre and radius of the main object"}};
  const auto names = [](std::span<const std::string> all) { return Json(std::vector<std::string>(all.begin(), all.end())); };
  Json attributes{{"category_names", names(category_names())}, {"colour_names", names(colour_names())}, {"background_names", names(background_names())}, {"seed", seed}};
  spec.attributes = &attributes;
  store::StageWriter out(path, spec, write_options(context));
  Progress progress("scenes", count);
  const auto pixels = static_cast<std::size_t>(side) * side;
  for (const auto& unit : out.pending()) {
    const auto n = static_cast<std::size_t>(unit.count);
    std::vector<std::uint8_t> images(n * 3 * pixels), segmentation(n * pixels);
    std::vector<std::string> name(n), caption;
    std::vector<std::int16_t> category(n), colour(n), background(n), second(n);
    std::vector<float> place;
    for (std::size_t k = 0; k < n; ++k) {
      const auto row = unit.first + static_cast<std::int64_t>(k);
      const auto scene = draw_scene(seed, row);
      const auto picture = render(scene, side);
      std::copy(picture.rgb.begin(), picture.rgb.end(), images.begin() + static_cast<std::ptrdiff_t>(k * 3 * pixels));
      std::copy(picture.segmentation.begin(), picture.segmentation.end(), segmentation.begin() + static_cast<std::ptrdiff_t>(k * pixels));
      name[k] = fmt::format("scene{:06}", row);
      for (auto& text : captions(scene, seed, row)) caption.push_back(std::move(text));
      category[k] = static_cast<std::int16_t>(scene.object.category);
      colour[k] = static_cast<std::int16_t>(scene.object.colour);
      background[k] = static_cast<std::int16_t>(scene.background);
      second[k] = static_cast<std::int16_t>(scene.second ? scene.second->category : -1);
      for (const double v : {scene.object.x, scene.object.y, scene.object.radius}) place.push_back(static_cast<float>(v));
      progress.advance();
    }
    out.write("image", unit, images.data());
    out.write("segmentation", unit, segmentation.data());
    out.write_strings("name", unit, name);
    out.write_strings("caption", unit, caption);
    out.write("category", unit, category.data());
    out.write("colour", unit, colour.data());
    out.write("background", unit, background.data());
    out.write("second_category", unit, second.data());
    out.write("place", unit, place.data());
  }
  out.publish(*context.provenance);
}

// z-scores a session's rows with the mean and deviation of its training trials, as the released NSD betas are.
void z_score(std::vector<float>& betas, std::span<const Trial> trials, std::size_t voxels, std::vector<double>& mean, std::vector<double>& sd) {
  for (std::size_t v = 0; v < voxels; ++v) {
    double sum = 0, squares = 0, n = 0;
    for (std::size_t t = 0; t < trials.size(); ++t)
      if (trials[t].split == 0) sum += betas[t * voxels + v], ++n;
    const double m = sum / n;
    for (std::size_t t = 0; t < trials.size(); ++t)
      if (trials[t].split == 0) squares += std::pow(betas[t * voxels + v] - m, 2);
    const double s = std::sqrt(squares / n) > 0 ? std::sqrt(squares / n) : 1;
    for (std::size_t t = 0; t < trials.size(); ++t) betas[t * voxels + v] = static_cast<float>((betas[t * voxels + v] - m) / s);
    mean.push_back(m), sd.push_back(s);
  }
}

Json write_subject(const std::string& path, const SimulationOptions& o, int number, const ingest::Context& context) {
  SubjectSimulator subject(o, number);
  store::SubjectWriter out(path, static_cast<std::int64_t>(subject.trials().size()), subject.voxels(), write_options(context));
  if (out.published()) return store::SubjectStore(path).attributes()["counts"];
  Progress progress(fmt::format("subject {} of {}", number, o.subjects), static_cast<std::int64_t>(subject.images().size()));
  for (const auto row : subject.images()) {
    check_stop();
    const auto scene = draw_scene(o.seed, row);
    subject.add_image(image_features(scene, render(scene, o.side), o.side, o.seed));
    progress.advance();
  }
  subject.finish();
  const auto& trials = subject.trials();
  const auto V = static_cast<std::size_t>(subject.voxels());
  store::Trials table;
  store::Voxels voxels;
  for (std::size_t t = 0; t < trials.size(); ++t) {
    table.stimulus.push_back(trials[t].stimulus);
    table.global_trial.push_back(static_cast<std::int32_t>(t));
    table.session.push_back(trials[t].session);
    table.run.push_back(trials[t].run);
    table.repeat.push_back(trials[t].repeat);
    table.split.push_back(trials[t].split);
  }
  for (std::size_t first = 0; first < trials.size();) {
    std::size_t last = first;
    while (last < trials.size() && trials[last].session == trials[first].session) ++last;
    std::vector<float> rows((last - first) * V);
    subject.betas(static_cast<std::int64_t>(first), static_cast<std::int64_t>(last - first), rows.data());
    z_score(rows, std::span(trials).subspan(first, last - first), V, voxels.mean, voxels.sd);
    out.append(static_cast<std::int64_t>(last - first), rows.data());
    first = last;
  }
  voxels.count = subject.voxels();
  voxels.ijk = subject.voxel_ijk();
  voxels.statistic_rows = o.sessions;
  for (const char* name : {"nsdgeneral", "V1", "V2", "V3", "V4", "higher_vis"}) voxels.roi.emplace_back(name, subject.roi(name));
  store::SubjectInfo info;
  info.id = ingest::subject_id(number);
  info.source = "simulated";
  out.publish(table, voxels, info, *context.provenance);
  return store::subject_counts(table, subject.voxels(), info);
}

}  // namespace

Json simulate(const SimulateOptions& options, const ingest::Context& context) {
  const auto o = checked(options, context.seed);
  Json counts = Json::object();
  if (options.scenes_only) {
    counts["images"] = options.scenes_only;
  } else {
    counts["images"] = o.images();
    for (int s = 1; s <= o.subjects; ++s)
      counts[ingest::subject_id(s)] = {{"voxels", o.voxels(s)}, {"trials", o.sessions * o.trials_per_session + o.shared_repeats * (o.test_images + o.validation_images)}};
  }
  if (context.dry_run) return counts;
  // The folder is built beside its name and renamed when everything is in it; each store in it is itself written whole or not at all.
  const fs::path target = fs::path(options.output.path).lexically_normal(), partial = target.string() + ".partial";
  const bool finished = fs::exists(target) && !context.write.overwrite;  // --resume: its stores say whether they are of this configuration
  const fs::path folder = finished ? target : partial;
  if (!finished && fs::exists(partial) && !context.write.resume) {
    if (!context.write.overwrite)
      throw Error(Exit::cant_create, fmt::format("{}: is there from an unfinished run; --resume continues it, --overwrite begins anew", partial.string()));
    fs::remove_all(partial);
  }
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error(Exit::cant_create, fmt::format("{}: cannot create: {}", folder.string(), failed.message()));
  write_stimuli((folder / "stimuli.zarr").string(), options.scenes_only ? options.scenes_only : o.images(),
                options.scenes_only ? context.seed ^ kScenesOnlySeed : context.seed, o.side, context);
  for (int s = 1; !options.scenes_only && s <= o.subjects; ++s) {
    const std::string id = ingest::subject_id(s);
    counts[id] = write_subject((folder / (id + ".zarr")).string(), o, s, context);
  }
  if (!finished) store::publish_folder(partial.string(), target.string(), context.write.overwrite);
  return counts;
}

}  // namespace me2::scenes
