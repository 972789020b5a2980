// Images -> stimulus store: image u1 [sample, 3, H, W] RGB, name string, coco_id i4 and caption string [sample, K] when known.
#pragma once
#include "ingest/ingest.h"
#include "store/image_file.h"

namespace me2::ingest {

struct StimuliOptions {
  InputPath input;
  OutputPath output;
  int size = 224;
  store::Fit fit = store::Fit::crop;
  std::string dataset = "images";
  std::optional<InputPath> captions;
  std::optional<InputPath> coco_ids;
  void describe(Describe& d) {
    d.positional("INPUT", input, "HDF5 file of images [n, 3, H, W] (0..1 floats or bytes), a folder of images, or a text file naming one image per line");
    d.positional("OUTPUT", output, "stimulus store to write");
    d.option("--size", size, "side of the stored images (files are resized; an HDF5 file keeps its own size)");
    d.option("--fit", fit, "images that are not square: centre crop, pad with black, or stretch");
    d.option("--dataset", dataset, "dataset of an HDF5 input");
    d.option("--captions", captions, "COCO captions JSON, or a table with the columns name (or coco_id) and caption");
    d.option("--coco-ids", coco_ids, "table with the columns nsdId and cocoId (nsd_stim_info_merged.csv)");
  }
};

// Floats become round(255 x), so that images that were bytes once are those bytes again. Returns counts.
Json import_stimuli(const StimuliOptions& options, const Context& context);

// Image files of a folder, relative to it, in bytewise order, by content; or the lines of a list, relative to the list's folder.
std::vector<std::string> list_images(const std::string& folder);

}  // namespace me2::ingest

template <>
inline const me2::EnumNames<me2::store::Fit>& me2::enum_names() {
  static const EnumNames<store::Fit> names{{store::Fit::crop, "crop"}, {store::Fit::pad, "pad"}, {store::Fit::stretch, "stretch"}};
  return names;
}
