#include "store/partial.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "store/store_files.h"

namespace me2::store {
namespace fs = std::filesystem;

namespace {

constexpr off_t kPublishByte = off_t{1} << 40;  // of the lock file; units lie below

Error cannot_create(const std::string& path, const std::string& why) { return Error(Exit::cant_create, fmt::format("{}: {}", path, why)); }

bool is_absent_or_empty(const std::string& path) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return true;
  return fs::is_directory(path, error) && fs::is_empty(path, error) && !error;
}

// The members in which two plans differ, as "options/--split (\"test\", was \"new_test\")".
void differences(const Json& now, const Json& before, const std::string& where, std::vector<std::string>& out) {
  if (now == before) return;
  if (now.is_object() && before.is_object()) {
    for (const auto& [key, value] : now.items())
      differences(value, before.contains(key) ? before[key] : Json(), where.empty() ? key : where + "/" + key, out);
    for (const auto& [key, value] : before.items())
      if (!now.contains(key)) differences(Json(), value, where.empty() ? key : where + "/" + key, out);
    return;
  }
  const auto brief = [](const Json& v) {
    const std::string text = v.is_null() ? "none" : v.dump();
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  };
  out.push_back(fmt::format("{} ({}, was {})", where, brief(now), brief(before)));
}

Json full_plan(const WriteOptions& options, const Json& plan) {
  Json out = plan;
  out["zarr_format"] = options.zarr_format;
  if (options.config) out["configuration"] = *options.config;
  out["config_digest"] = options.config_digest;
  return out;
}

void refuse_other_plan(const std::string& path, const Json& now, const Json& before) {
  if (now == before) return;
  std::vector<std::string> what;
  differences(now, before, "", what);
  if (what.size() > 1) std::erase_if(what, [](const std::string& w) { return w.starts_with("config_digest "); });
  if (what.size() > 4) what.resize(4);
  throw usage_error("{}: was begun with another configuration; what differs: {}", path, fmt::join(what, "; "));
}

void sync_folder(const std::string& folder) {
  if (fsync_wanted()) sync_directory(folder);
}

void write_new_file(const std::string& path, std::string_view content) {
  NewFile file(path);
  file.write(0, content.data(), content.size());
  file.commit();
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw io_error("{}: cannot remove: {}", path, error.message());
}

}  // namespace

void publish_folder(const std::string& from, const std::string& to, bool overwrite) {
  if (is_absent_or_empty(to)) {
    if (::rename(from.c_str(), to.c_str()) != 0) throw io_error("{}: rename from {} failed: {}", to, from, std::strerror(errno));
  } else if (!overwrite) {
    throw cannot_create(to, "exists by now; --overwrite replaces it");
  } else if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    remove_tree(from);  // what was there before
  } else {  // a file system that cannot exchange
    const std::string old = fmt::format("{}.{}.old", to, ::getpid());
    if (::rename(to.c_str(), old.c_str()) != 0 || ::rename(from.c_str(), to.c_str()) != 0)
      throw io_error("{}: rename failed: {}", to, std::strerror(errno));
    remove_tree(old);
  }
  sync_folder(parent_of(to));
}

struct PartialStore::Impl {
  std::string path, partial;
  WriteOptions options;
  Json plan;
  bool published = false;
  int lock_fd = -1;
  ino_t inode = 0;
  std::unique_ptr<Group> group;

  std::string own(const std::string& name) const { return partial + "/.me2/" + name; }
  bool is_several() const { return options.shard_count > 1; }
  ~Impl() {
    if (lock_fd >= 0) ::close(lock_fd);
  }

  bool lock(off_t first, off_t count, bool wait) const {
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = first;
    request.l_len = count;
    for (;;) {
      if (::fcntl(lock_fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &request) == 0) return true;
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EACCES) return false;
      log_warning("{}: no locks on this file system ({}): see to it that no two processes write the same shard", partial, std::strerror(errno));
      return true;
    }
  }

  void open_lock() {
    lock_fd = ::open(own("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_fd < 0) throw io_error("{}: {}", own("lock"), std::strerror(errno));
  }

  // Makes the .partial with its arrays in one step; false when another process was first.
  bool create(const std::function<void(Group&)>& build) {
    const std::string fresh = fmt::format("{}.{}{}", partial, ::getpid(), kTemporarySuffix);
    try {
      remove_tree(fresh);
      Group made = Group::create(fresh, options.zarr_format);
      build(made);
      write_new_file(fresh + "/.me2/plan.json", plan.dump(2) + "\n");
      write_new_file(fresh + "/.me2/lock", "");
      sync_folder(fresh + "/.me2");
      sync_folder(fresh);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(fresh, ignored);
      throw;
    }
    if (::rename(fresh.c_str(), partial.c_str()) != 0) {
      const int reason = errno;
      remove_tree(fresh);
      if (reason == ENOTEMPTY || reason == EEXIST) return false;
      throw cannot_create(partial, std::strerror(reason));
    }
    sync_folder(parent_of(partial));
    return true;
  }

  // The .partial is complete but for the rename: a crash came between removing .me2 and renaming.
  bool lacks_only_the_rename() const {
    try {
      const Json attributes = Group::open(partial).attributes();
      return attributes.contains("me2") && attributes["me2"].value("config_digest", Json()) == options.config_digest;
    } catch (const Error&) {
      return false;
    }
  }

  void rename_to_final() const { publish_folder(partial, path, options.overwrite); }
};

PartialStore::PartialStore(const std::string& path, const WriteOptions& options, const Json& plan, std::int64_t first_unit,
                           std::int64_t units, const std::function<void(Group&)>& build)
    : impl_(std::make_unique<Impl>()) {
  Impl& s = *impl_;
  s.path = path;
  while (s.path.size() > 1 && s.path.back() == '/') s.path.pop_back();
  s.partial = s.path + ".partial";
  s.options = options;
  s.plan = full_plan(options, plan);

  if (!is_absent_or_empty(s.path) && !options.overwrite) {
    if (!options.resume) throw cannot_create(s.path, "already exists; --overwrite replaces it");
    Json me2;
    try {
      s.group = std::make_unique<Group>(Group::open(s.path));
      me2 = s.group->attributes().value("me2", Json());
    } catch (const Error&) {
      throw cannot_create(s.path, "already exists and is no store; --overwrite replaces it");
    }
    const Json before = me2.is_object() ? me2.value("plan", Json()) : Json();
    refuse_other_plan(s.path, s.plan, before);
    s.published = true;
    return;
  }

  for (int attempt = 0;; ++attempt) {
    std::error_code error;
    if (!fs::exists(s.partial, error)) {
      if (!s.create(build) && !s.is_several() && !options.resume)
        throw Error(Exit::temp_fail, fmt::format("{}: another process has just begun to write it", s.partial));
    } else {
      const std::string plan_file = s.own("plan.json");
      const bool has_plan = fs::exists(plan_file, error);
      if (!has_plan && options.resume && s.lacks_only_the_rename()) {
        s.rename_to_final();
        s.group = std::make_unique<Group>(Group::open(s.path));
        s.published = true;
        return;
      }
      const bool same = has_plan && read_json_file(plan_file) == s.plan;
      const bool join = same && (options.resume || s.is_several());
      if (!join) {
        if (options.resume && has_plan && !options.overwrite) refuse_other_plan(s.partial, s.plan, read_json_file(plan_file));
        if (!options.overwrite)
          throw cannot_create(s.partial, has_plan ? "is there from an unfinished run; --resume continues it, --overwrite begins anew"
                                                  : "is there and is no unfinished store of ours");
        if (has_plan) {
          s.open_lock();
          if (!s.lock(0, 0, false)) throw Error(Exit::temp_fail, fmt::format("{}: another process is writing it", s.partial));
          ::close(std::exchange(s.lock_fd, -1));
        }
        remove_tree(s.partial);
        continue;
      }
    }
    s.open_lock();
    if (units > 0 && !s.lock(first_unit, units, false))
      throw Error(Exit::temp_fail, fmt::format("{}: another process is writing the same rows", s.partial));
    // Between finding the .partial and locking it, it may have been published.
    struct stat by_name {}, by_lock {};
    if (::stat(s.own("lock").c_str(), &by_name) == 0 && ::fstat(s.lock_fd, &by_lock) == 0 && by_name.st_ino == by_lock.st_ino) break;
    ::close(std::exchange(s.lock_fd, -1));
    if (attempt == 3) throw Error(Exit::temp_fail, fmt::format("{}: comes and goes; another process is writing it", s.partial));
  }
  s.group = std::make_unique<Group>(Group::open(s.partial));
  refuse_other_plan(s.partial, s.plan, read_json_file(s.own("plan.json")));
}

PartialStore::~PartialStore() = default;
bool PartialStore::published() const { return impl_->published; }
Group& PartialStore::group() { return *impl_->group; }

void PartialStore::discard() {
  if (!impl_->published) remove_tree(impl_->partial);
}

bool PartialStore::publish(const Json& provenance, const std::function<bool()>& complete) {
  Impl& s = *impl_;
  if (s.published) return true;
  s.lock(kPublishByte, 1, true);
  struct stat by_name {}, by_lock {};
  if (::stat(s.own("lock").c_str(), &by_name) != 0 || ::fstat(s.lock_fd, &by_lock) != 0 || by_name.st_ino != by_lock.st_ino)
    return s.published = true;  // the process of another shard has done it
  if (!complete()) {
    if (!s.is_several()) throw Error(Exit::internal, fmt::format("{}: to be published before all rows were written", s.partial));
    write_new_file(s.own(fmt::format("part-{:06}-of-{:06}.json", s.options.shard_index, s.options.shard_count)), provenance.dump(2) + "\n");
    struct flock release {};
    release.l_type = F_UNLCK;
    release.l_whence = SEEK_SET;
    release.l_start = kPublishByte;
    release.l_len = 1;
    ::fcntl(s.lock_fd, F_OFD_SETLK, &release);
    return false;
  }
  Json me2 = provenance.is_object() ? provenance : Json::object();
  std::vector<std::string> parts, leftovers;
  for (const auto& entry : fs::directory_iterator(s.partial + "/.me2"))
    if (entry.path().filename().string().starts_with("part-")) parts.push_back(entry.path());
  std::sort(parts.begin(), parts.end());
  for (const std::string& part : parts) me2["parts"].push_back(read_json_file(part));
  me2["config_digest"] = s.options.config_digest;
  me2["plan"] = s.plan;
  Json attributes = s.group->attributes();
  attributes["me2"] = std::move(me2);
  s.group->set_attributes(attributes);
  s.group->consolidate();
  for (const auto& entry : fs::recursive_directory_iterator(s.partial))  // of writers that were killed
    if (entry.path().filename().string().ends_with(kTemporarySuffix)) leftovers.push_back(entry.path());
  for (const std::string& leftover : leftovers) ::unlink(leftover.c_str());
  remove_tree(s.partial + "/.me2");
  sync_folder(s.partial);
  s.rename_to_final();
  s.group = std::make_unique<Group>(Group::open(s.path));
  return s.published = true;
}

}  // namespace me2::store
