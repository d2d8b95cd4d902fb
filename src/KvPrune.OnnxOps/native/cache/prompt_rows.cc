#include "cache/prompt_rows.h"

#include <algorithm>
#include <string>

namespace kvprune {

PromptNeeds PromptNeeds::Of(const Policy& policy) {
  PromptNeeds needs;
  needs.Add(policy);
  return needs;
}

void PromptNeeds::Add(const Policy& policy) {
  if (policy.IsQueryAware()) observed_queries = std::max(observed_queries, policy.observation_window);
}

Status PromptNeeds::Cover(const Policy& policy, int64_t segment_tokens) const {
  const int64_t wanted = std::min<int64_t>(Of(policy).observed_queries, segment_tokens);
  if (wanted <= observed_queries) return {};
  return {KVP_INVALID_STATE, "the policy scores by the last " + std::to_string(wanted) +
                                 " queries of the segment, of which " + std::to_string(observed_queries) +
                                 " were kept: it was not among the policies the segment was opened for"};
}

int64_t PromptRows::Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                          int64_t segment_tokens) {
  const int64_t observed = std::min<int64_t>(needs.observed_queries, segment_tokens) * shape.query_heads;
  const int64_t bytes =
      (2 * shape.kv_heads * capacity + observed) * shape.head_size * static_cast<int64_t>(sizeof(float));
  return (bytes + 63) / 64 * 64;
}

Status PromptRows::Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                          const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens,
                          PromptRows* rows) {
  Status status = Buffer::Allocate(account, MemoryUse::kStaging,
                                   Bytes(shape, needs, capacity, segment_tokens), &rows->buffer_);
  if (!status.ok()) return status;
  rows->query_heads_ = shape.query_heads;
  rows->kv_heads_ = shape.kv_heads;
  rows->head_size_ = shape.head_size;
  rows->capacity_ = capacity;
  rows->segment_tokens_ = segment_tokens;
  rows->first_observed_ = std::max<int64_t>(0, segment_tokens - needs.observed_queries);
  return {};
}

ObservedQueries PromptRows::LastQueries(int window) const {
  const int64_t first = std::max<int64_t>(0, segment_tokens_ - window);
  return {ObservedQuery(first), static_cast<int>(segment_tokens_ - first), observed_stride()};
}

}  // namespace kvprune
