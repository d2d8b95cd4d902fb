#ifndef KVPRUNE_CACHE_PROMPT_ROWS_H_
#define KVPRUNE_CACHE_PROMPT_ROWS_H_

#include <cstdint>

#include "cache/memory.h"
#include "cache/model_shape.h"
#include "kernels/kernels.h"
#include "pruning/policy.h"

namespace kvprune {

// What is collected beside the rows of a prompt segment while it is read, so that policies can seal it.
struct PromptNeeds {
  int observed_queries = 0;  // of the segment's last tokens; all of a shorter segment's

  static PromptNeeds Of(const Policy& policy);
  // Also what `policy` needs.
  void Add(const Policy& policy);
  // Refuses a policy that needs more of a segment of this length than was collected.
  Status Cover(const Policy& policy, int64_t segment_tokens) const;
};

// Rotated queries [tokens, query_heads, head_size], oldest first, `stride` floats from token to token.
struct ObservedQueries {
  const float* queries;
  int tokens;
  int64_t stride;
};

// One layer's dense float rows while a prompt segment is read: the former tail, then the segment's tokens.
// Keys and values are [kv_heads, capacity, head_size], the layout in which ONNX Runtime's GroupQueryAttention
// takes a shared past/present buffer. The queries of the segment's last tokens are kept where they are
// needed.
class PromptRows {
 public:
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                       const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens, PromptRows* rows);
  static int64_t Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                       int64_t segment_tokens);

  int64_t bytes() const { return buffer_.bytes(); }
  int64_t capacity() const { return capacity_; }
  float* keys(int kv_head) const { return Base() + static_cast<int64_t>(kv_head) * capacity_ * head_size_; }
  float* values(int kv_head) const {
    return Base() + static_cast<int64_t>(kv_heads_ + kv_head) * capacity_ * head_size_;
  }
  DenseRows Rows(int kv_head) const {
    return {keys(kv_head), values(kv_head), Storage::kFloat32, Storage::kFloat32, head_size_};
  }

  // The first token of the segment, counted from its start, whose queries are kept: those from it to the
  // segment's end are. The segment's length when none are.
  int64_t first_observed() const { return first_observed_; }
  // Where the queries of the segment's `index`-th token, at least first_observed(), are kept.
  float* ObservedQuery(int64_t index) const {
    return values(kv_heads_) + (index - first_observed_) * observed_stride();
  }
  // Those of the last `window` tokens, fewer if the segment is shorter; `window` of them were kept.
  ObservedQueries LastQueries(int window) const;

 private:
  float* Base() const { return reinterpret_cast<float*>(buffer_.data()); }
  int64_t observed_stride() const { return static_cast<int64_t>(query_heads_) * head_size_; }

  int query_heads_ = 0;
  int kv_heads_ = 0;
  int head_size_ = 0;
  int64_t segment_tokens_ = 0;
  int64_t first_observed_ = 0;
  int64_t capacity_ = 0;
  Buffer buffer_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PROMPT_ROWS_H_
