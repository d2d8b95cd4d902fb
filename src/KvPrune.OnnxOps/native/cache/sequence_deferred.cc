// The half of Sequence that deals with deferred segments: read once, sealed as often as wanted.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "cache/finite.h"
#include "cache/pack_ahead.h"
#include "cache/seal_layer.h"
#include "cache/sequence.h"
#include "cache/thread_runner.h"
#include "cache/tile_walk.h"

namespace kvprune {

Status Sequence::OpenDeferredSegment(int64_t tokens, std::span<const Policy> policies, int64_t probe_tokens) {
  const std::lock_guard lock(mutex_);
  if (probe_tokens < 0 || probe_tokens > shape().max_tokens)
    return {KVP_INVALID_ARGUMENT, "a probe step cannot have " + std::to_string(probe_tokens) + " tokens"};
  PromptNeeds needs;
  for (const Policy& policy : policies) needs.Add(policy);
  Status status = Open(tokens, needs);
  if (!status.ok()) return status;
  segment_->deferred = true;
  segment_->probe_tokens = probe_tokens;
  segment_->filled.assign(shape().layers, false);
  return {};
}

Status Sequence::CheckFull() const {
  if (!segment_ || !segment_->deferred) return {KVP_INVALID_STATE, "no deferred segment is open"};
  const int64_t left = SegmentEnd() - length_;
  if (left == 0) return {};
  return {KVP_INVALID_STATE,
          "the deferred segment is not full: " + std::to_string(left) + " of its tokens are missing"};
}

Status Sequence::Fill(int layer, int64_t tokens, const float* keys, const float* values, const float* queries,
                      int64_t query_tokens) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  if (!segment_ || !segment_->deferred) return {KVP_INVALID_STATE, "no deferred segment is open"};
  if (length_ > segment_->start) return {KVP_INVALID_STATE, "tokens of the segment were read already"};
  if (layer < 0 || layer >= shape().layers)
    return {KVP_INVALID_ARGUMENT, "there is no layer " + std::to_string(layer)};
  if (tokens != segment_->tokens)
    return {KVP_INVALID_ARGUMENT, "the buffers hold " + std::to_string(tokens) + " rows, the segment " +
                                      std::to_string(segment_->tokens)};
  status = PrepareSegmentRows();
  if (!status.ok()) return status;

  if (segment_->needs.Accumulates())
    return {
        KVP_INVALID_STATE,
        "the policies that the segment was opened for score tokens by all of its queries, which only steps "
        "that read it see"};
  PromptRows& rows = segment_->rows[layer];
  const int64_t observed = tokens - rows.record().first_observed();
  if (query_tokens < observed)
    return {KVP_INVALID_ARGUMENT,
            "the policies that the segment was opened for need the queries of its last " +
                std::to_string(observed) + " tokens, not of " + std::to_string(query_tokens)};
  const int64_t row_floats = shape().head_size;
  for (int head = 0; head < shape().kv_heads; ++head) {
    status = CheckFinite("key", keys + head * tokens * row_floats, tokens, row_floats, layer, length_);
    if (status.ok())
      status = CheckFinite("value", values + head * tokens * row_floats, tokens, row_floats, layer, length_);
    if (!status.ok()) return status;
  }
  const int64_t query_floats = shape().query_heads * row_floats;
  status = CheckFinite("query", queries, query_tokens, query_floats, layer, length_ + tokens - query_tokens);
  if (!status.ok()) return status;
  const int64_t past = dense_rows() * row_floats;
  const size_t bytes = static_cast<size_t>(tokens * row_floats) * sizeof(float);
  for (int head = 0; head < shape().kv_heads; ++head) {
    std::memcpy(rows.keys(head) + past, keys + head * tokens * row_floats, bytes);
    std::memcpy(rows.values(head) + past, values + head * tokens * row_floats, bytes);
  }
  if (observed > 0)
    std::memcpy(rows.record().ObservedQuery(rows.record().first_observed()),
                queries + (query_tokens - observed) * query_floats,
                static_cast<size_t>(observed * query_floats) * sizeof(float));
  RecordFilled(layer, rows.record());
  segment_->filled[layer] = true;
  if (std::find(segment_->filled.begin(), segment_->filled.end(), false) == segment_->filled.end())
    length_ += tokens;
  return {};
}

// How a filled layer attends is not known: as one without softcap, window and sinks.
void Sequence::RecordFilled(int layer, PromptRecord& record) const {
  const int size = shape().head_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  record.SetRule({size, scale});
  constexpr int64_t kFirstRow = 0;
  for (int64_t index = record.first_observed(); index < segment_->tokens; ++index)
    for (int head = 0; head < shape().query_heads; ++head) {
      float query[kMaxHeadSize];
      const float* source = record.ObservedQuery(index) + static_cast<int64_t>(head) * size;
      std::transform(source, source + size, query, [scale](float x) { return x * scale; });
      const int kv_head = head / shape().group();
      AttentionState state;
      state.Reset(1, size);
      const SlabList& slabs = *layers_[layer].slabs;
      AttendSlabs(slabs, kv_head, 0, slabs.Tiles(kv_head), query, 1, size, &kFirstRow, 0, &state);
      record.ObservedPast(index)[head] = LogSum(state, 0);
    }
}

// The source's slabs come first, as they are; the tail's rows and the segment's are sealed together, as at
// the end of any segment.
Status Sequence::SealAs(const Policy& policy, std::shared_ptr<Sequence>* sealed) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (status.ok()) status = CheckFull();
  if (status.ok()) status = segment_->needs.Cover(policy, segment_->tokens);
  if (!status.ok()) return status;
  if (policy.NeedsReconstruction() && !segment_->probed)
    return {KVP_INVALID_STATE,
            "the policy scores tokens by their reconstruction, but no probe step followed the segment"};
  std::shared_ptr<Sequence> made;
  status = Create(manager_, policy, &made);
  if (!status.ok()) return status;
  made->length_ = length_;
  made->last_sealing_ = last_sealing_;

  ThreadTaskRunner tasks;
  std::vector<LayerSeal> seals;
  seals.reserve(layers_.size());
  for (int layer = 0; layer < shape().layers; ++layer)
    seals.push_back({*manager_, policy, layer, segment_->rows[layer], *layers_[layer].slabs, sealed_,
                     dense_rows(), segment_->tokens});
  const bool global = policy.eviction.heads == HeadBudgets::kGlobal;
  std::vector<KeptTokens> kept;
  if (global) status = ChooseTokens(seals, tasks, &kept);
  if (!status.ok()) return status;
  for (int layer = 0; layer < shape().layers; ++layer) {
    if (!global) status = ChooseTokens({&seals[layer], 1}, tasks, &kept);
    if (!status.ok()) return status;
    const KeptTokens& own = kept[global ? layer : 0];
    std::shared_ptr<TileSlab> slab;
    status = SealPromptRows(seals[layer], own, tasks, &slab);
    if (!status.ok()) return status;
    std::shared_ptr<SlabList> slabs = layers_[layer].slabs->Copy();
    if (slab != nullptr) slabs->Add(std::move(slab), true);
    made->layers_[layer].slabs = std::move(slabs);
    made->layers_[layer].evicted_for = layers_[layer].evicted_for;
    if (policy.ScoresWhileDecoding())
      status =
          RowScores::OfPrompt(seals[layer], own, layers_[layer].scores.get(), &made->layers_[layer].scores);
    if (!status.ok()) return status;
    WriteTailRows(shape(), policy, segment_->rows[layer], dense_rows(), layer, *made->tail_);
    std::shared_ptr<TileSlab> packed;
    status = PackAheadOfPrompt(*manager_, policy, *made->tail_, sealed_ + seals[layer].leaving(), length_,
                               layer, tasks, &packed);
    if (!status.ok()) return status;
    made->packed_[layer] = std::move(packed);
  }
  made->sealed_ = sealed_ + seals[0].leaving();
  if (seals[0].leaving() > 0) made->last_sealing_ = length_;
  made->AddCheckpoint(made->MakeCheckpoint());
  *sealed = std::move(made);
  return {};
}

Status Sequence::BeginProbe(int new_tokens) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (status.ok()) status = CheckFull();
  if (!status.ok()) return status;
  if (new_tokens < 1 || new_tokens > segment_->probe_tokens)
    return {KVP_INVALID_ARGUMENT, "a probe step of " + std::to_string(new_tokens) +
                                      " tokens: the segment was opened for at most " +
                                      std::to_string(segment_->probe_tokens)};
  if (new_tokens > shape().max_tokens - length_)
    return {KVP_INVALID_ARGUMENT, "a probe step of " + std::to_string(new_tokens) + " tokens after " +
                                      std::to_string(length_) + " exceeds the model's " +
                                      std::to_string(shape().max_tokens) + " tokens"};
  Step step(new_tokens, shape().layers);
  step.probes = true;
  step_ = std::move(step);
  return {};
}

}  // namespace kvprune
