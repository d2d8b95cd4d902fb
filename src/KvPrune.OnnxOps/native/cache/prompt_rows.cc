#include "cache/prompt_rows.h"

#include <algorithm>

namespace kvprune {

namespace {

int ObservedTokens(const Policy& policy, int64_t segment_tokens) {
  return policy.IsQueryAware()
             ? static_cast<int>(std::min<int64_t>(policy.observation_window, segment_tokens))
             : 0;
}

}  // namespace

int64_t PromptRows::Bytes(const ModelShape& shape, const Policy& policy, int64_t capacity,
                          int64_t segment_tokens) {
  const int64_t observed = static_cast<int64_t>(ObservedTokens(policy, segment_tokens)) * shape.query_heads;
  const int64_t bytes =
      (2 * shape.kv_heads * capacity + observed) * shape.head_size * static_cast<int64_t>(sizeof(float));
  return (bytes + 63) / 64 * 64;
}

Status PromptRows::Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                          const Policy& policy, int64_t capacity, int64_t segment_tokens, PromptRows* rows) {
  Status status = Buffer::Allocate(account, MemoryUse::kStaging,
                                   Bytes(shape, policy, capacity, segment_tokens), &rows->buffer_);
  if (!status.ok()) return status;
  rows->query_heads_ = shape.query_heads;
  rows->kv_heads_ = shape.kv_heads;
  rows->head_size_ = shape.head_size;
  rows->capacity_ = capacity;
  rows->observation_window_ = ObservedTokens(policy, segment_tokens);
  return {};
}

float* PromptRows::ObservedQuery(int64_t index) const {
  return observed() + index % observation_window_ * observed_stride();
}

}  // namespace kvprune
