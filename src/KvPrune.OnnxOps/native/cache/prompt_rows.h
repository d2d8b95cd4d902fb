#ifndef KVPRUNE_CACHE_PROMPT_ROWS_H_
#define KVPRUNE_CACHE_PROMPT_ROWS_H_

#include <cstdint>

#include "cache/memory.h"
#include "cache/model_shape.h"
#include "cache/prompt_record.h"
#include "kernels/kernels.h"

namespace kvprune {

// One layer's dense float rows while a prompt segment is read: the former tail, then the segment's tokens.
// Keys and values are [kv_heads, capacity, head_size], the layout in which ONNX Runtime's GroupQueryAttention
// takes a shared past/present buffer.
class PromptRows {
 public:
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                       const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens, PromptRows* rows);
  static int64_t Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                       int64_t segment_tokens);

  int64_t bytes() const { return buffer_.bytes() + record_.bytes(); }
  int64_t capacity() const { return capacity_; }
  float* keys(int kv_head) const { return Base() + static_cast<int64_t>(kv_head) * capacity_ * head_size_; }
  float* values(int kv_head) const {
    return Base() + static_cast<int64_t>(kv_heads_ + kv_head) * capacity_ * head_size_;
  }
  DenseRows Rows(int kv_head) const {
    return {keys(kv_head), values(kv_head), Storage::kFloat32, Storage::kFloat32, head_size_};
  }

  PromptRecord& record() { return record_; }
  const PromptRecord& record() const { return record_; }

 private:
  float* Base() const { return reinterpret_cast<float*>(buffer_.data()); }

  int kv_heads_ = 0;
  int head_size_ = 0;
  int64_t capacity_ = 0;
  Buffer buffer_;
  PromptRecord record_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PROMPT_ROWS_H_
