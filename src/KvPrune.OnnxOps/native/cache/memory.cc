#include "cache/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <string>

namespace kvprune {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;

// `bytes` is a multiple of kAlignment. Blocks of at least a huge page begin on one and have them as far as
// they fill them, so nothing but the block becomes resident. Reading a cache from memory was measured faster
// on huge pages: dense bfloat16 by about a fifth.
void* AllocateBlock(int64_t bytes) {
  void* data = nullptr;
  const bool large = bytes >= kHugePage;
  if (posix_memalign(&data, large ? kHugePage : kAlignment, static_cast<size_t>(bytes)) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // Advice only: without huge pages the block is as good, and slower to read.
  if (large) madvise(data, static_cast<size_t>(bytes / kHugePage * kHugePage), MADV_HUGEPAGE);
#endif
  return data;
}

}  // namespace

Status MemoryAccount::Charge(MemoryUse use, int64_t bytes) {
  if (use == MemoryUse::kWeights) {
    by_use_[static_cast<int>(use)].fetch_add(bytes, std::memory_order_relaxed);
    return {};
  }
  // A refused charge is never part of the total, not even for a moment: another thread's could fail by it.
  int64_t total = total_.load(std::memory_order_relaxed);
  do {
    if (byte_limit_ > 0 && use != MemoryUse::kScratch && bytes > byte_limit_ - total)
      return {KVP_OUT_OF_MEMORY, "the KV cache needs " + std::to_string(bytes) + " more bytes, but " +
                                     std::to_string(total) + " of the limit of " +
                                     std::to_string(byte_limit_) + " bytes are in use"};
  } while (!total_.compare_exchange_weak(total, total + bytes, std::memory_order_relaxed));
  total += bytes;
  by_use_[static_cast<int>(use)].fetch_add(bytes, std::memory_order_relaxed);
  int64_t peak = peak_.load(std::memory_order_relaxed);
  while (total > peak && !peak_.compare_exchange_weak(peak, total, std::memory_order_relaxed)) {
  }
  return {};
}

void MemoryAccount::Release(MemoryUse use, int64_t bytes) {
  by_use_[static_cast<int>(use)].fetch_sub(bytes, std::memory_order_relaxed);
  if (use != MemoryUse::kWeights) total_.fetch_sub(bytes, std::memory_order_relaxed);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Free();
    account_ = std::move(other.account_);
    use_ = other.use_;
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Status Buffer::Allocate(const std::shared_ptr<MemoryAccount>& account, MemoryUse use, int64_t bytes,
                        Buffer* buffer) {
  const int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  Status status = account->Charge(use, rounded);
  if (!status.ok()) return status;
  void* data = AllocateBlock(rounded);
  if (data == nullptr) {
    account->Release(use, rounded);
    return {KVP_OUT_OF_MEMORY,
            "the machine has no memory left for " + std::to_string(rounded) + " bytes of KV cache"};
  }
  buffer->Free();
  buffer->account_ = account;
  buffer->use_ = use;
  buffer->data_ = static_cast<uint8_t*>(data);
  buffer->bytes_ = rounded;
  return {};
}

void Buffer::Free() {
  if (data_ == nullptr) return;
  std::free(data_);
  account_->Release(use_, bytes_);
  account_.reset();
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace kvprune
