#ifndef KVPRUNE_CACHE_MANAGER_H_
#define KVPRUNE_CACHE_MANAGER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "cache/memory.h"
#include "cache/model_shape.h"
#include "cache/output_gram.h"

namespace kvprune {

// What the sequences of one model share: its shape, its memory and its identity.
class Manager {
 public:
  Manager(const ModelShape& shape, int64_t byte_limit)
      : shape_(shape),
        account_(std::make_shared<MemoryAccount>(byte_limit)),
        id_(NextId()),
        output_gram_(shape_, account_) {}

  const ModelShape& shape() const { return shape_; }
  const std::shared_ptr<MemoryAccount>& account() const { return account_; }
  int64_t id() const { return id_; }
  OutputGram& output_gram() { return output_gram_; }
  const OutputGram& output_gram() const { return output_gram_; }

  void CountSequences(int64_t change) { sequences_.fetch_add(change, std::memory_order_relaxed); }
  int64_t sequences() const { return sequences_.load(std::memory_order_relaxed); }

 private:
  static int64_t NextId() {
    static std::atomic<int64_t> next{1};
    return next.fetch_add(1, std::memory_order_relaxed);
  }

  const ModelShape shape_;
  const std::shared_ptr<MemoryAccount> account_;
  const int64_t id_;
  OutputGram output_gram_;
  std::atomic<int64_t> sequences_{0};
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_MANAGER_H_
