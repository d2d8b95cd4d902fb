#include "cache/prompt_record.h"

#include <algorithm>
#include <string>

namespace kvprune {

PromptNeeds PromptNeeds::Of(const Policy& policy) {
  PromptNeeds needs;
  needs.Add(policy);
  return needs;
}

void PromptNeeds::Add(const Policy& policy) {
  if (policy.NeedsObservedQueries()) observed_queries = std::max(observed_queries, policy.observation_window);
  accumulated = accumulated || policy.NeedsAccumulatedAttention();
  reconstruction = reconstruction || policy.NeedsReconstruction();
  if (policy.NeedsExpectedAttention() && !expected) {
    expected = true;
    skipped_queries = policy.eviction.sink_tokens;
  }
}

Status PromptNeeds::Cover(const Policy& policy, int64_t segment_tokens) const {
  const auto refuse = [](const std::string& missing) {
    return Status(KVP_INVALID_STATE,
                  "the policy " + missing + ": it was not among the policies the segment was opened for");
  };
  const PromptNeeds needed = Of(policy);
  const int64_t wanted = std::min<int64_t>(needed.observed_queries, segment_tokens);
  if (wanted > observed_queries)
    return refuse("scores by the last " + std::to_string(wanted) + " queries of the segment, of which " +
                  std::to_string(observed_queries) + " were kept");
  if (needed.accumulated && !accumulated)
    return refuse("scores by accumulated attention, which was not recorded");
  if (needed.reconstruction && !reconstruction)
    return refuse("scores by reconstruction, for which no attention was recorded");
  if (needed.expected && !expected)
    return refuse("scores by expected attention, for which no queries were recorded");
  if (needed.expected && needed.skipped_queries != skipped_queries)
    return refuse(
        "leaves the first " + std::to_string(needed.skipped_queries) +
        " queries out of expected attention, as many as it has sinks, but those recorded begin after " +
        std::to_string(skipped_queries));
  return {};
}

PromptRecord::Parts::Parts(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                           int64_t segment_tokens) {
  const auto add = [this](int64_t count) {
    const int64_t offset = floats;
    floats += count;
    return offset;
  };
  const int64_t observed = std::min<int64_t>(needs.observed_queries, segment_tokens);
  mass = add(needs.accumulated ? 2 * shape.kv_heads * capacity : 0);  // doubles
  statistics = add(needs.expected ? shape.query_heads * QueryStatistics::Floats(shape.head_size) : 0);
  reconstruction = add(needs.reconstruction ? shape.kv_heads * capacity : 0);
  ahead = add(needs.expected ? shape.head_size : 0);
  sinks = add(needs.Attends() ? shape.query_heads : 0);
  past = add(observed * shape.query_heads);
  queries = add(observed * shape.query_heads * shape.head_size);
}

int64_t PromptRecord::Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                            int64_t segment_tokens) {
  const Parts parts(shape, needs, capacity, segment_tokens);
  return (parts.floats * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
}

Status PromptRecord::Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                            const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens,
                            PromptRecord* record) {
  const int64_t bytes = Bytes(shape, needs, capacity, segment_tokens);
  if (bytes > 0) {
    Status status = Buffer::Allocate(account, MemoryUse::kStaging, bytes, &record->buffer_);
    if (!status.ok()) return status;
  }
  record->shape_ = shape;
  record->needs_ = needs;
  record->parts_ = Parts(shape, needs, capacity, segment_tokens);
  record->capacity_ = capacity;
  record->segment_tokens_ = segment_tokens;
  record->first_observed_ = std::max<int64_t>(0, segment_tokens - needs.observed_queries);
  record->Clear();
  return {};
}

void PromptRecord::Clear() {
  if (parts_.ahead > 0) std::fill_n(At(0), parts_.ahead, 0.0f);
}

void PromptRecord::SetRule(const AttentionRule& rule) {
  if (!needs_.Attends() && !needs_.expected) return;
  rule_ = rule;
  if (needs_.Attends() && rule.sinks != nullptr)
    std::copy_n(rule.sinks, shape_.query_heads, At(parts_.sinks));
}

AttentionRule PromptRecord::Rule(int kv_head) const {
  AttentionRule rule = rule_;
  if (rule.sinks != nullptr) rule.sinks = At(parts_.sinks) + kv_head * shape_.group();
  return rule;
}

float* PromptRecord::ObservedQuery(int64_t index) const {
  return At(parts_.queries) + (index - first_observed_) * shape_.query_heads * shape_.head_size;
}

float* PromptRecord::ObservedPast(int64_t index) const {
  return At(parts_.past) + (index - first_observed_) * shape_.query_heads;
}

QueryRows PromptRecord::LastQueries(int window, int kv_head, int64_t first_row) const {
  const int64_t first = std::max<int64_t>(0, segment_tokens_ - window);
  const int64_t first_head = static_cast<int64_t>(kv_head) * shape_.group();
  return {.rows = ObservedQuery(first) + first_head * shape_.head_size,
          .stride = static_cast<int64_t>(shape_.query_heads) * shape_.head_size,
          .count = segment_tokens_ - first,
          .group = shape_.group(),
          .first_position = first_row + first,
          .past = ObservedPast(first) + first_head,
          .past_stride = shape_.query_heads};
}

QueryStatistics PromptRecord::Statistics(int query_head) const {
  return {At(parts_.statistics) + query_head * QueryStatistics::Floats(shape_.head_size), shape_.head_size};
}

void PromptRecord::SetAhead(const RotaryRows& rotary, int64_t position) {
  ahead_ = {nullptr, nullptr, rotary.cosine != nullptr ? 1 : 0, rotary.rotary_size, rotary.interleaved};
  AverageRotation(rotary, position, AheadCosine(), AheadSine());
}

RotaryRows PromptRecord::Ahead() const {
  RotaryRows ahead = ahead_;
  if (ahead.positions > 0) {
    ahead.cosine = AheadCosine();
    ahead.sine = AheadSine();
  }
  return ahead;
}

}  // namespace kvprune
