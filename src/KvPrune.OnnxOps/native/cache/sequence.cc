#include "cache/sequence.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>

#include "cache/pack_ahead.h"
#include "cache/slab_rows.h"

namespace kvprune {

Sequence::Sequence(std::shared_ptr<Manager> manager, const Policy& policy)
    : manager_(std::move(manager)),
      policy_(policy),
      layers_(manager_->shape().layers, {std::make_shared<SlabList>(manager_->shape().kv_heads)}),
      packed_(manager_->shape().layers),
      empty_({.layers = layers_}) {
  manager_->CountSequences(1);
}

Status Sequence::Create(std::shared_ptr<Manager> manager, const Policy& policy,
                        std::shared_ptr<Sequence>* sequence) {
  std::shared_ptr<Sequence> made(new Sequence(std::move(manager), policy));
  Status status = made->NewTail(&made->tail_);
  if (!status.ok()) return status;
  for (LayerState& layer : made->layers_) {
    if (!policy.ScoresWhileDecoding()) break;
    status = RowScores::Create(made->manager_->account(), std::vector<int64_t>(made->shape().kv_heads, 0),
                               policy.TailCapacity(), &layer.scores);
    if (!status.ok()) return status;
  }
  *sequence = std::move(made);
  return {};
}

Status Sequence::NewTail(std::shared_ptr<DenseTail>* tail) const {
  return DenseTail::Create(manager_->account(), shape(), policy_, tail);
}

Status Sequence::CheckIdle() const {
  if (step_) return {KVP_BUSY, "the sequence takes part in an open step"};
  if (closed_) return {KVP_STALE_HANDLE, "the sequence was released"};
  return {};
}

Status Sequence::Close() {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (status.ok()) closed_ = true;
  return status;
}

Status Sequence::Fork(std::shared_ptr<Sequence>* fork) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  if (segment_) return {KVP_INVALID_STATE, "a sequence cannot be forked while a prompt segment is open"};
  std::shared_ptr<Sequence> made;
  status = Create(manager_, policy_, &made);
  if (!status.ok()) return status;
  made->tail_->CopyFrom(*tail_, 0, static_cast<int>(dense_rows()));
  made->length_ = length_;
  made->sealed_ = sealed_;
  made->last_sealing_ = last_sealing_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    std::shared_ptr<RowScores> scores;
    if (layers_[i].scores != nullptr) status = layers_[i].scores->Copy(manager_->account(), &scores);
    if (!status.ok()) return status;
    made->layers_[i] = {layers_[i].slabs, std::move(scores), layers_[i].evicted_for};
  }
  made->packed_ = packed_;
  // Checkpoints stay with the original: each would pin a tail for as long as the fork lives.
  *fork = std::move(made);
  return {};
}

Status Sequence::OpenSegment(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  PromptNeeds needs = PromptNeeds::Of(policy_);
  needs.reconstruction = false;  // no probe step follows
  return Open(tokens, needs);
}

Status Sequence::Open(int64_t tokens, const PromptNeeds& needs) {
  Status status = CheckIdle();
  if (!status.ok()) return status;
  if (segment_) return {KVP_INVALID_STATE, "a prompt segment is open already"};
  if (tokens < 1)
    return {KVP_INVALID_ARGUMENT, "a prompt segment needs at least one token, not " + std::to_string(tokens)};
  if (tokens > shape().max_tokens - length_)
    return {KVP_INVALID_ARGUMENT, "a prompt segment of " + std::to_string(tokens) + " tokens after " +
                                      std::to_string(length_) + " exceeds the model's " +
                                      std::to_string(shape().max_tokens) + " tokens"};
  segment_ = Segment{.start = length_, .tokens = tokens, .needs = needs};
  return {};
}

Status Sequence::Checkpoint() {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  if (segment_) return {KVP_INVALID_STATE, "no checkpoint can be taken while a prompt segment is open"};
  AddCheckpoint(MakeCheckpoint());
  return {};
}

Sequence::SavedState Sequence::MakeCheckpoint() const {
  SavedState state;
  state.layers = layers_;
  return state;
}

void Sequence::AddCheckpoint(SavedState room) {
  if (!checkpoints_.empty() && checkpoints_.back().length == length_) checkpoints_.pop_back();
  room.length = length_;
  room.sealed = sealed_;
  room.last_sealing = last_sealing_;
  std::copy(layers_.begin(), layers_.end(), room.layers.begin());
  room.tail = tail_;
  checkpoints_.push_back(std::move(room));
}

Status Sequence::Rewind(int64_t length) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  if (length < 0 || length > length_)
    return {KVP_INVALID_ARGUMENT, "cannot rewind to length " + std::to_string(length) +
                                      ": the sequence holds " + std::to_string(length_) + " tokens"};
  const int64_t tail_end = segment_ ? segment_->start : length_;
  if (length > tail_end)
    return {KVP_NOT_REWINDABLE, "cannot rewind to length " + std::to_string(length) +
                                    " inside the open segment, which begins at " + std::to_string(tail_end)};
  const auto saved = std::find_if(checkpoints_.begin(), checkpoints_.end(),
                                  [length](const SavedState& state) { return state.length == length; });
  const bool is_saved = saved != checkpoints_.end();
  if (length < tail_end && length < last_sealing_ && length > 0 && !is_saved)
    return {KVP_NOT_REWINDABLE, "cannot rewind to length " + std::to_string(length) +
                                    ": no checkpoint is there, and rows were sealed at " +
                                    std::to_string(last_sealing_)};
  if (length == 0)
    Restore(empty_);
  else if (length < tail_end && (length < last_sealing_ || (Evolves() && is_saved)))
    Restore(*saved);
  // Otherwise the tail only gets shorter: rows of the checkpoints that stay lie before `length`.
  length_ = length;
  // Tiles packed ahead of rows that are gone, or that may now become others.
  const int64_t packed = PackAhead::PackedLayers(policy_, shape().layers, dense_rows());
  std::fill(packed_.begin() + packed, packed_.end(), nullptr);
  segment_.reset();
  std::erase_if(checkpoints_, [length](const SavedState& state) { return state.length > length; });
  return {};
}

// In place: sealing left the live tail to nobody else, so only checkpoints that are about to go refer to it.
void Sequence::Restore(const SavedState& saved) {
  if (saved.tail != nullptr) tail_->CopyFrom(*saved.tail, 0, static_cast<int>(saved.length - saved.sealed));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerState& layer = saved.layers[i];
    // Before the first row any scores do.
    layers_[i] = {layer.slabs, layer.scores ? layer.scores : layers_[i].scores, layer.evicted_for};
  }
  std::fill(packed_.begin(), packed_.end(), nullptr);
  sealed_ = saved.sealed;
  last_sealing_ = saved.last_sealing;
}

Status Sequence::GetInfo(kvp_sequence_info* info) {
  const std::lock_guard lock(mutex_);
  *info = {};
  info->length = length_;
  info->sealed_tokens = sealed_;
  for (const LayerState& layer : layers_) {
    info->sealed_bytes += layer.slabs->bytes();
    if (layer.scores) info->tail_bytes += layer.scores->bytes();
  }
  for (const auto& slab : packed_)
    if (slab) info->sealed_bytes += slab->bytes();
  info->tail_bytes += tail_->bytes();
  const DenseTail* counted = tail_.get();
  const std::vector<LayerState>* newer = &layers_;
  for (auto state = checkpoints_.rbegin(); state != checkpoints_.rend(); ++state) {
    if (state->tail.get() != counted) info->tail_bytes += state->tail->bytes();
    counted = state->tail.get();
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerState& layer = state->layers[i];
      info->sealed_bytes += layer.slabs->BytesNotIn(*(*newer)[i].slabs);
      if (layer.scores && layer.scores != (*newer)[i].scores) info->tail_bytes += layer.scores->bytes();
    }
    newer = &state->layers;
  }
  if (segment_) {
    info->open_segment_tokens = SegmentEnd() - length_;
    for (const PromptRows& rows : segment_->rows) info->staging_bytes += rows.bytes();
  }
  if (step_) info->staging_bytes += step_->whole.bytes();
  return {};
}

Status Sequence::CheckHead(int layer, int kv_head) const {
  if (layer >= 0 && layer < shape().layers && kv_head >= 0 && kv_head < shape().kv_heads) return {};
  return {KVP_INVALID_ARGUMENT,
          "there is no KV head " + std::to_string(kv_head) + " in layer " + std::to_string(layer)};
}

Status Sequence::CheckRows(int layer, int kv_head, int64_t rows) const {
  Status status = CheckHead(layer, kv_head);
  if (!status.ok()) return status;
  if (rows != length_)
    return {KVP_INVALID_ARGUMENT,
            "the buffers hold " + std::to_string(rows) + " rows, the sequence " + std::to_string(length_)};
  return {};
}

Status Sequence::ReadKept(int layer, int kv_head, int64_t tokens, uint8_t* kept) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  status = CheckRows(layer, kv_head, tokens);
  if (!status.ok()) return status;
  ReadKeptTokens(*layers_[layer].slabs, kv_head, sealed_, kept);
  std::fill(kept + sealed_, kept + tokens, uint8_t{1});
  return {};
}

Status Sequence::ReadRows(int layer, int kv_head, int64_t rows, float* keys, float* values) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  status = CheckRows(layer, kv_head, rows);
  if (!status.ok()) return status;
  ReadSlabs(*layers_[layer].slabs, kv_head, shape().head_size, sealed_, keys, values);
  keys += sealed_ * shape().head_size;
  values += sealed_ * shape().head_size;
  const int64_t dense = dense_rows();
  if (dense == 0) return {};
  if (segment_ && !segment_->rows.empty()) {
    const size_t bytes = static_cast<size_t>(dense) * shape().head_size * sizeof(float);
    std::memcpy(keys, segment_->rows[layer].keys(kv_head), bytes);
    std::memcpy(values, segment_->rows[layer].values(kv_head), bytes);
  } else {
    tail_->Read(layer, kv_head, 0, static_cast<int>(dense), keys, values);
  }
  return {};
}

Status Sequence::GetHead(int layer, int kv_head, kvp_head_info* info) {
  const std::lock_guard lock(mutex_);
  Status status = CheckHead(layer, kv_head);
  if (!status.ok()) return status;
  *info = {};
  info->output_error = std::numeric_limits<float>::quiet_NaN();
  const SlabList& slabs = *layers_[layer].slabs;
  const auto newest =
      std::find_if(std::make_reverse_iterator(slabs.end()), std::make_reverse_iterator(slabs.begin()),
                   [](const SlabList::Entry& entry) { return entry.prompt; });
  if (newest == std::make_reverse_iterator(slabs.begin())) return {};
  const TileSlab& slab = *newest->slab;
  const TileFormat& format = slab.format(kv_head);
  info->tokens = slab.tokens();
  info->kept_tokens = slab.tiles(kv_head) * kTileTokens;
  info->bytes = slab.HeadBytes(kv_head);
  info->key_storage = static_cast<int32_t>(format.key.storage);
  info->value_storage = static_cast<int32_t>(format.value.storage);
  info->key_channels = format.key_channels;
  info->value_channels = format.value_channels;
  info->key_elements = format.key.nonzeros;
  info->value_elements = format.value.nonzeros;
  info->output_error = slab.output_error(kv_head);
  return {};
}

}  // namespace kvprune
