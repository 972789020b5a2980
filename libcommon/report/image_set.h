// A set of images to be scored, whatever holds it: stage or stimulus store (array `image`), .npy or .pt tensor, or a folder of
// PNG/JPEG. Sets are joined by what names their images, never by position unless one of them has no names.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::report {

class ImageSet {
 public:
  // `array`: of a store. Exit::data saying what is not right, with the file.
  static ImageSet open(const std::string& path, const std::string& array = "image");

  // Pictures made by a function: rows -> float [n, 3, H, W] in [0, 1].
  using Read = std::function<at::Tensor(const std::vector<std::int64_t>&)>;
  // `pictures`: a name for what each row shows, where rows may show the same picture (empty: they do not); `of`: the set those names are
  // ids of, where it is one whose features are kept (KeptFeatures::set).
  static ImageSet made(const std::string& name, const std::string& shape, const std::vector<std::string>& keys, Read read, std::vector<std::string> pictures = {},
                       std::string of = {});

  std::int64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Names of the images: stimulus ids of a stage store, rows of a stimulus store, file stems of a folder; empty for bare tensors.
  const std::vector<std::string>& keys() const { return keys_; }
  const std::vector<std::string>& aliases() const { return aliases_; }  // a second name where there is one: `name`, the number in a stem
  const std::vector<std::string>& pictures() const { return pictures_; }
  const std::string& pictures_of() const { return pictures_of_; }
  std::string shape() const { return shape_; }                          // "512x512", for messages
  bool one_size() const { return one_size_; }                           // false: pictures of a folder, which may differ
  // Rows as float [n, 3, H, W] in [0, 1], as stored; rows of a folder must be of one size within a call.
  // Exit::data naming set and row for values that are not finite or not in [0, 1], and for a picture that cannot be decoded.
  at::Tensor read(const std::vector<std::int64_t>& rows) const;

 private:
  std::string path_, shape_, pictures_of_;
  std::int64_t size_ = 0;
  bool one_size_ = true;
  std::vector<std::string> keys_, aliases_, pictures_;
  Read read_;
};

// A picture for a page, from float [3, H, W] in [0, 1]: PNG up to 96 pixels a side, else JPEG of at most `limit` pixels a side.
std::string picture_uri(const at::Tensor& image, std::int64_t limit);

struct Joined {
  std::vector<std::string> ids;                  // of the common images
  std::vector<std::vector<std::int64_t>> rows;   // per set, one row per id
  std::vector<std::string> missing;              // "17 (not in recons.zarr)"
};
struct Keys {  // what join needs of a set
  std::string path;
  std::int64_t size = 0;
  std::vector<std::string> keys, aliases;
};
// Images that all sets have, in the order of the first set. Exit::data for a repeated name, for sets without names that differ in
// size, and, unless allow_missing, for images that some set lacks (the message lists them).
Joined join(const std::vector<Keys>& sets, bool allow_missing);
Keys keys_of(const ImageSet& set);

}  // namespace me2::report
