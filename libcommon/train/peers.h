// Other processes that train on their parts of the same batch: what a training step needs of them, and who has which rows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace me2::train {

// All calls are collective: every process makes the same ones in the same order. Exit::temp_fail when another process has ended.
class Peers {
 public:
  virtual ~Peers() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void all_reduce(const at::Tensor& tensor) = 0;  // the sum over processes, in place; contiguous
  virtual void broadcast(const at::Tensor& tensor) = 0;   // rank 0's values, in place; contiguous
  // Along the first dimension, whose sizes may differ by process (`rows` lists them); no gradient.
  virtual std::vector<at::Tensor> all_gather(const at::Tensor& local, const std::vector<std::int64_t>& rows) = 0;
  virtual void barrier() = 0;
  virtual void leave() = 0;                               // the orderly end, by all
  virtual void fail(const std::string& why) noexcept = 0;  // this process ends with an error: the others then do too. Not collective
};

// Rows of the joined batch that a process has: of each subject a contiguous part, as equal as can be.
class Share {
 public:
  Share() = default;  // one process: everything
  Share(const std::vector<std::int64_t>& subject_rows, int rank, int size);
  bool whole() const { return size_ <= 1; }
  std::int64_t first(std::size_t subject) const { return begin(subject, rank_); }
  std::int64_t count(std::size_t subject) const { return begin(subject, rank_ + 1) - begin(subject, rank_); }
  std::int64_t joined() const;                        // rows of all processes
  std::vector<std::int64_t> counts() const;           // of each process
  at::Tensor rows() const;                            // i64: positions of this process's rows in the joined batch
  at::Tensor mine(const at::Tensor& all) const { return whole() || !all.defined() ? all : all.index_select(0, rows()); }
  // What all_gather returned, in the order of the joined batch: the first subject's rows, then the second's.
  at::Tensor join(const std::vector<at::Tensor>& parts) const;

 private:
  std::int64_t begin(std::size_t subject, int rank) const { return subject_rows_[subject] * rank / size_; }
  std::vector<std::int64_t> positions(int rank) const;
  std::vector<std::int64_t> subject_rows_;
  int rank_ = 0, size_ = 1;
};

at::Tensor flag(bool value);  // as something to broadcast
bool is_set(const at::Tensor& flag);

}  // namespace me2::train
