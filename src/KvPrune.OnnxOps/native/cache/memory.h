#ifndef KVPRUNE_CACHE_MEMORY_H_
#define KVPRUNE_CACHE_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cache/status.h"

namespace kvprune {

// kScratch lives within one layer's run. It is counted, but a run is never refused for it: admission by a
// sequence's estimate has to be enough. kWeights belongs to the model: it is counted on its own, outside of
// the limit and of the peak.
enum class MemoryUse { kSealed, kTail, kStaging, kScratch, kWeights };
inline constexpr int kMemoryUses = 5;

// Bytes held on behalf of one manager, against its limit. Thread-safe.
class MemoryAccount {
 public:
  explicit MemoryAccount(int64_t byte_limit) : byte_limit_(byte_limit) {}

  Status Charge(MemoryUse use, int64_t bytes);
  void Release(MemoryUse use, int64_t bytes);

  int64_t InUse(MemoryUse use) const {
    return by_use_[static_cast<int>(use)].load(std::memory_order_relaxed);
  }
  int64_t Peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  const int64_t byte_limit_;  // 0: none
  std::atomic<int64_t> total_{0};
  std::atomic<int64_t> peak_{0};
  std::atomic<int64_t> by_use_[kMemoryUses] = {};
};

// A 64-byte aligned block charged to an account for as long as it lives. Contents start undefined.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { Free(); }

  static Status Allocate(const std::shared_ptr<MemoryAccount>& account, MemoryUse use, int64_t bytes,
                         Buffer* buffer);

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  void Free();

 private:
  std::shared_ptr<MemoryAccount> account_;
  MemoryUse use_ = MemoryUse::kSealed;
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_MEMORY_H_
