#include "base/hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/error.h"

namespace me2 {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;
constexpr std::size_t kSamples = 256;  // of quick_digest, shared out among a folder's files
constexpr std::size_t kSample = 64 << 10;

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info;
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
      const int reason = errno;
      if (fd_ >= 0) ::close(fd_);
      throw Error(reason == ENOENT ? Exit::no_input : Exit::io, fmt::format("{}: {}", path, std::strerror(reason)));
    }
    size_ = info.st_size;
  }
  ~Reader() { ::close(fd_); }
  Reader(const Reader&) = delete;
  off_t size() const { return size_; }
  std::size_t read(off_t at, char* out, std::size_t n) const {
    while (true) {
      const ssize_t got = ::pread(fd_, out, n, at);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) throw io_error("{}: {}", path_, std::strerror(errno));
    }
  }

 private:
  std::string path_;
  int fd_;
  off_t size_ = 0;
};

// `samples` blocks spread over the file when it is larger than they are; 0: all of it.
std::string hash_file(const std::string& path, std::size_t samples) {
  const Reader file(path);
  Sha256 hash;
  std::vector<char> block(kBlock);
  if (samples > 0 && static_cast<std::size_t>(file.size()) > samples * kSample) {
    hash.update(fmt::format("{} bytes, sampled\n", file.size()));
    for (std::size_t i = 0; i < samples; ++i) {  // the middles of `samples` equal parts
      const auto part = static_cast<std::size_t>(file.size()) / samples;
      const auto at = static_cast<off_t>(part * i + (part - kSample) / 2);
      hash.update(std::string_view(block.data(), file.read(at, block.data(), kSample)));
    }
    return hash.hex();
  }
  for (off_t at = 0;;) {
    const std::size_t n = file.read(at, block.data(), kBlock);
    if (n == 0) return hash.hex();
    hash.update(std::string_view(block.data(), n));
    at += static_cast<off_t>(n);
  }
}

std::string hash_path(const std::string& path, bool sampled) {
  namespace fs = std::filesystem;
  std::error_code none;
  if (!fs::is_directory(path, none)) return hash_file(path, sampled ? kSamples : 0);
  std::vector<std::string> files;
  std::error_code error;  // ends the walk, which would otherwise look like that of an empty folder
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error))
    if (it->is_regular_file(none)) files.push_back(fs::path(it->path()).lexically_relative(path).string());
  if (error) throw io_error("{}: {}", path, error.message());
  std::sort(files.begin(), files.end());
  const std::size_t samples = sampled ? std::max<std::size_t>(1, kSamples / std::max<std::size_t>(1, files.size())) : 0;
  Sha256 hash;
  for (const auto& file : files) hash.update(fmt::format("{}  {}\n", hash_file(path + "/" + file, samples), file));
  return hash.hex();
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
    throw Error(Exit::internal, "SHA-256 cannot be set up");
}
Sha256::~Sha256() = default;

Sha256& Sha256::update(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  return *this;
}
Sha256& Sha256::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  return *this;
}

std::string Sha256::hex() {
  unsigned char digest[32];
  EVP_DigestFinal_ex(state_->context, digest, nullptr);
  std::string out;
  for (const unsigned char c : digest) out += fmt::format("{:02x}", c);
  return out;
}

std::string sha256(std::string_view bytes) { return Sha256().update(bytes).hex(); }
std::string sha256_path(const std::string& path) { return hash_path(path, false); }
std::string quick_digest(const std::string& path) { return hash_path(path, true); }

}  // namespace me2
