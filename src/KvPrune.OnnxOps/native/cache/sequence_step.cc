// The step half of Sequence: begin, the layers' part, commit and rollback.
#include <string>

#include "cache/sequence.h"

namespace kvprune {

Status Sequence::BeginStep(int new_tokens) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  Step step;
  step.new_tokens = new_tokens;
  step.seals = false;
  step.layer_done.assign(shape().layers, false);
  step.new_slabs.resize(shape().layers);
  status = segment_ ? BeginPromptStep(new_tokens, &step) : BeginDecodeStep(new_tokens, &step);
  if (!status.ok()) return status;
  step_ = std::move(step);
  return {};
}

// Memory that depends on no result is taken here, so that running out of it fails before any layer has run.
Status Sequence::BeginPromptStep(int new_tokens, Step* step) {
  const int64_t left = segment_->start + segment_->tokens - length_;
  if (new_tokens < 1 || new_tokens > left)
    return {KVP_INVALID_ARGUMENT, "a step of " + std::to_string(new_tokens) +
                                      " tokens does not fit the open segment, of which " +
                                      std::to_string(left) + " tokens are left"};
  step->seals = new_tokens == left;
  if (step->seals) ReserveForSealing();
  if (new_tokens == segment_->tokens) {
    Status status =
        PromptRows::Create(manager_->account(), shape(), policy_, SegmentRowCapacity(), &step->whole);
    if (!status.ok()) return status;
  } else if (segment_->rows.empty()) {
    std::vector<PromptRows> rows(shape().layers);
    for (int layer = 0; layer < shape().layers; ++layer) {
      Status status =
          PromptRows::Create(manager_->account(), shape(), policy_, SegmentRowCapacity(), &rows[layer]);
      if (!status.ok()) return status;
      for (int head = 0; head < shape().kv_heads; ++head)
        tail_->Read(layer, head, 0, tail_rows(), rows[layer].keys(head), rows[layer].values(head));
    }
    segment_->rows = std::move(rows);
  }
  // Sealing rewrites the tail; one that holds rows is kept for a rollback or a checkpoint.
  const bool tail_is_free = segment_->start == sealed_ && tail_.use_count() == 1;
  if (step->seals && !tail_is_free) return NewTail(&step->tail);
  return {};
}

Status Sequence::BeginDecodeStep(int new_tokens, Step* step) {
  if (new_tokens != 1)
    return {KVP_INVALID_STATE, "a step of " + std::to_string(new_tokens) +
                                   " tokens needs an open prompt segment; without one a step is one token"};
  if (length_ >= shape().max_tokens)
    return {KVP_INVALID_ARGUMENT,
            "the sequence holds the model's " + std::to_string(shape().max_tokens) + " tokens"};
  step->seals = policy_.SealableTiles(tail_rows() + 1) > 0;
  if (!step->seals) return {};
  ReserveForSealing();
  step->unpacked.resize(2 * static_cast<size_t>(kTileTokens) * shape().head_size);
  for (auto& new_slab : step->new_slabs) {
    std::shared_ptr<TileSlab> slab;
    Status status = TileSlab::Create(manager_->account(), generated_format_, shape().kv_heads, 1, &slab);
    if (!status.ok()) return status;
    new_slab = std::move(slab);
  }
  return tail_.use_count() > 1 ? NewTail(&step->tail) : Status();
}

// Committing must not run out of memory.
void Sequence::ReserveForSealing() {
  for (SlabList& list : slabs_) list.reserve(list.size() + 1);
  checkpoints_.reserve(checkpoints_.size() + 1);
}

Status Sequence::BeginLayer(int layer) {
  if (layer < 0 || layer >= shape().layers)
    return {KVP_INVALID_ARGUMENT, "the node's layer " + std::to_string(layer) +
                                      " is not one of the sequence's " + std::to_string(shape().layers)};
  if (step_->layer_done[layer])
    return {KVP_INVALID_STATE, "layer " + std::to_string(layer) + " ran twice in one step"};
  step_->layer_done[layer] = true;
  return {};
}

Status Sequence::PreparePromptRows(int layer, PromptRows** rows) {
  if (!StepIsWholeSegment()) {
    *rows = &segment_->rows[layer];
    return {};
  }
  for (int head = 0; head < shape().kv_heads; ++head)
    tail_->Read(layer, head, 0, tail_rows(), step_->whole.keys(head), step_->whole.values(head));
  *rows = &step_->whole;
  return {};
}

Status Sequence::CreatePromptSlab(std::shared_ptr<TileSlab>* slab) {
  const int64_t tiles = policy_.SealableTiles(prompt_row_count() + step_->new_tokens);
  if (tiles == 0) return {};
  return TileSlab::Create(manager_->account(), prompt_format_, shape().kv_heads, tiles, slab);
}

void Sequence::FinishSealedLayer(int layer, std::shared_ptr<const TileSlab> slab) {
  const int64_t first = slab ? slab->tokens() : 0;
  const int64_t rows = prompt_row_count() + step_->new_tokens;
  const bool whole = StepIsWholeSegment();
  PromptRows& source = whole ? step_->whole : segment_->rows[layer];
  DenseTail& tail = step_->tail ? *step_->tail : *tail_;
  for (int head = 0; head < shape().kv_heads; ++head)
    for (int64_t row = first; row < rows; ++row)
      tail.Write(layer, head, static_cast<int>(row - first), source.keys(head) + row * shape().head_size,
                 source.values(head) + row * shape().head_size);
  step_->new_slabs[layer] = std::move(slab);
  if (!whole) {
    // Frees this layer before the next one seals: the peak is one layer less.
    source = PromptRows();
    step_->lost_rows = true;
  }
}

Status Sequence::CheckStepComplete() {
  const std::lock_guard lock(mutex_);
  if (!step_) return {KVP_INVALID_STATE, "the sequence has no open step to commit"};
  for (int layer = 0; layer < shape().layers; ++layer)
    if (!step_->layer_done[layer])
      return {KVP_INVALID_STATE, "layer " + std::to_string(layer) + " did not run in this step"};
  return {};
}

void Sequence::CommitStep() {
  const std::lock_guard lock(mutex_);
  const bool prompt = StepIsPrompt();
  length_ += step_->new_tokens;
  if (step_->seals) {
    if (!prompt) SealTail();
    if (step_->new_slabs[0]) {
      sealed_ += step_->new_slabs[0]->tokens();
      last_sealing_ = length_;
      for (int layer = 0; layer < shape().layers; ++layer)
        slabs_[layer].push_back(std::move(step_->new_slabs[layer]));
    }
    if (step_->tail) tail_ = std::move(step_->tail);
  }
  step_.reset();
  if (prompt && length_ == segment_->start + segment_->tokens) {
    segment_.reset();
    AddCheckpoint();
  }
}

// Packs the tail's oldest 64 rows into the slabs that BeginDecodeStep took and moves the others down.
void Sequence::SealTail() {
  const size_t size = static_cast<size_t>(kTileTokens) * shape().head_size;
  float* keys = step_->unpacked.data();
  float* values = keys + size;
  for (int layer = 0; layer < shape().layers; ++layer) {
    const TileSlab& slab = *step_->new_slabs[layer];
    for (int head = 0; head < shape().kv_heads; ++head) {
      uint8_t* channels = slab.channels(head);
      for (int j = 0; j < shape().head_size; ++j) channels[j] = static_cast<uint8_t>(j);
      tail_->Read(layer, head, 0, kTileTokens, keys, values);
      Kernels().pack_tile(slab.format(), keys, values, shape().head_size, channels, slab.tile(head, 0));
    }
  }
  DenseTail& target = step_->tail ? *step_->tail : *tail_;
  target.CopyFrom(*tail_, kTileTokens, tail_rows() - kTileTokens);
}

void Sequence::RollbackStep() {
  const std::lock_guard lock(mutex_);
  if (!step_) return;
  if (step_->lost_rows) invalid_ = true;
  step_.reset();
}

}  // namespace kvprune
