#ifndef KVPRUNE_CACHE_OUTPUT_GRAM_H_
#define KVPRUNE_CACHE_OUTPUT_GRAM_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/memory.h"
#include "cache/model_shape.h"

namespace kvprune {

// The Gram matrices of a model's output projections, [kv_heads, head_size, head_size] per layer; see
// kvp_manager_set_output_gram. A layer that is set stays as it is, so that runs read it without a lock.
class OutputGram {
 public:
  OutputGram(const ModelShape& shape, std::shared_ptr<MemoryAccount> account);

  Status Set(int layer, const float* gram, int64_t count);
  // Names the first layer that is not set.
  Status RequireAll() const;
  // The matrix of one KV head; null while the layer is not set.
  const float* Find(int layer, int kv_head) const {
    const float* gram = layers_[layer].load(std::memory_order_acquire);
    return gram == nullptr ? nullptr : gram + kv_head * HeadFloats();
  }

 private:
  int64_t HeadFloats() const { return static_cast<int64_t>(shape_.head_size) * shape_.head_size; }

  const ModelShape shape_;
  const std::shared_ptr<MemoryAccount> account_;
  std::mutex mutex_;
  std::vector<Buffer> buffers_;
  std::vector<std::atomic<const float*>> layers_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_OUTPUT_GRAM_H_
