// The step half of Sequence: begin, the layers' part, commit and rollback.
#include <algorithm>
#include <string>

#include "cache/pack_ahead.h"
#include "cache/seal_layer.h"
#include "cache/sequence.h"

namespace kvprune {

Status Sequence::BeginStep(int new_tokens) {
  const std::lock_guard lock(mutex_);
  Status status = CheckIdle();
  if (!status.ok()) return status;
  Step step(new_tokens, shape().layers);
  status = segment_ ? BeginPromptStep(&step) : BeginDecodeStep(&step);
  if (!status.ok()) return status;
  step_ = std::move(step);
  return {};
}

Status Sequence::BeginPromptStep(Step* step) {
  const int64_t left = SegmentEnd() - length_;
  if (left == 0)
    return {KVP_INVALID_STATE,
            "the deferred segment is full: what follows it needs a sequence sealed from it"};
  if (step->new_tokens < 1 || step->new_tokens > left)
    return {KVP_INVALID_ARGUMENT, "a step of " + std::to_string(step->new_tokens) +
                                      " tokens does not fit the open segment, of which " +
                                      std::to_string(left) + " tokens are left"};
  if (std::find(segment_->filled.begin(), segment_->filled.end(), true) != segment_->filled.end())
    return {KVP_INVALID_STATE, "layers of the deferred segment were filled without a step"};
  if (segment_->deferred) return PrepareSegmentRows();
  step->seals = step->new_tokens == left;
  if (step->seals) ReserveForSealing(step);
  // Sealing rewrites the tail; one that holds rows is kept for a rollback or a checkpoint.
  const bool tail_is_free = segment_->start == sealed_ && tail_.use_count() == 1;
  if (step->seals && !tail_is_free) {
    Status status = NewTail(&step->tail);
    if (!status.ok()) return status;
  }
  if (step->new_tokens == segment_->tokens)
    return PromptRows::Create(manager_->account(), shape(), segment_->needs, SegmentRowCapacity(),
                              segment_->tokens, &step->whole);
  return PrepareSegmentRows();
}

Status Sequence::PrepareSegmentRows() {
  if (!segment_->rows.empty()) return {};
  std::vector<PromptRows> rows(shape().layers);
  for (int layer = 0; layer < shape().layers; ++layer) {
    Status status = PromptRows::Create(manager_->account(), shape(), segment_->needs, SegmentRowCapacity(),
                                       segment_->tokens, &rows[layer]);
    if (!status.ok()) return status;
    for (int head = 0; head < shape().kv_heads; ++head)
      tail_->Read(layer, head, 0, static_cast<int>(dense_rows()), rows[layer].keys(head),
                  rows[layer].values(head));
  }
  segment_->rows = std::move(rows);
  return {};
}

Status Sequence::BeginDecodeStep(Step* step) {
  if (step->new_tokens != 1)
    return {KVP_INVALID_STATE, "a step of " + std::to_string(step->new_tokens) +
                                   " tokens needs an open prompt segment; without one a step is one token"};
  if (length_ >= shape().max_tokens)
    return {KVP_INVALID_ARGUMENT,
            "the sequence holds the model's " + std::to_string(shape().max_tokens) + " tokens"};
  step->seals = policy_.SealableTiles(dense_rows() + 1) > 0;
  Status status = PlanPacking(step);
  // What finds no memory now is packed when the tail is full. Evicting depends on when it is done.
  if (!status.ok() && (step->seals || Evolves())) return status;
  if (Evolves()) status = PlanEviction(step);
  if (!step->seals || !status.ok()) return Evolves() ? status : Status();
  ReserveForSealing(step);
  return tail_.use_count() > 1 ? NewTail(&step->tail) : Status();
}

// Layers take turns as in packing ahead, and each has one turn until the tail is full. The others' scores,
// where a checkpoint has them too, are copied before the step adds to them.
Status Sequence::PlanEviction(Step* step) const {
  const auto done = [this](const LayerState& layer) { return layer.evicted_for == sealed_; };
  int64_t due = PackAhead::DueLayers(policy_, shape().layers, dense_rows(),
                                     shape().layers - std::count_if(layers_.begin(), layers_.end(), done));
  for (int layer = 0; layer < shape().layers; ++layer) {
    const LayerState& state = layers_[layer];
    step->evicts[layer] = due > 0 && !done(state);
    if (step->evicts[layer]) {
      --due;
    } else if (state.scores.use_count() > 1) {
      Status status = state.scores->Copy(manager_->account(), &step->scores[layer]);
      if (!status.ok()) return status;
    }
  }
  return {};
}

Status Sequence::PlanPacking(Step* step) const {
  const int64_t unpacked = std::count(packed_.begin(), packed_.end(), nullptr);
  int64_t due = PackAhead::DueLayers(policy_, shape().layers, dense_rows(), unpacked);
  for (int layer = 0; due > 0; ++layer) {
    if (packed_[layer]) continue;
    std::shared_ptr<TileSlab> slab;
    Status status =
        TileSlab::Create(manager_->account(), GeneratedTileFormat(policy_, layer, shape().head_size),
                         shape().kv_heads, 1, &slab);
    if (!status.ok()) return status;
    step->packs[layer] = std::move(slab);
    --due;
  }
  return {};
}

// Committing must not run out of memory.
void Sequence::ReserveForSealing(Step* step) {
  for (int layer = 0; layer < shape().layers; ++layer) step->slabs[layer] = layers_[layer].slabs->Copy();
  if (segment_) step->checkpoint = MakeCheckpoint();
  if (checkpoints_.size() == checkpoints_.capacity()) checkpoints_.reserve(2 * checkpoints_.size() + 1);
}

Status Sequence::BeginLayer(int layer) {
  const std::lock_guard lock(mutex_);
  if (!step_) return {KVP_INVALID_STATE, "no step was begun on the sequence"};
  if (layer < 0 || layer >= shape().layers)
    return {KVP_INVALID_ARGUMENT, "the node's layer " + std::to_string(layer) +
                                      " is not one of the sequence's " + std::to_string(shape().layers)};
  if (step_->layer_running) return {KVP_BUSY, "the sequence is in another run"};
  if (step_->layer_done[layer])
    return {KVP_INVALID_STATE, "layer " + std::to_string(layer) + " ran twice in one step"};
  step_->layer_running = true;
  return {};
}

void Sequence::EndLayer(int layer, bool done) {
  const std::lock_guard lock(mutex_);
  step_->layer_running = false;
  step_->layer_done[layer] = done;
}

PromptRows& Sequence::PreparePromptRows(int layer) {
  if (!StepIsWholeSegment()) return segment_->rows[layer];
  step_->whole.record().Clear();
  for (int head = 0; head < shape().kv_heads; ++head)
    tail_->Read(layer, head, 0, static_cast<int>(dense_rows()), step_->whole.keys(head),
                step_->whole.values(head));
  return step_->whole;
}

const DenseTail& Sequence::FinishSealedLayer(int layer, std::shared_ptr<const TileSlab> slab) {
  const bool whole = StepIsWholeSegment();
  PromptRows& source = whole ? step_->whole : segment_->rows[layer];
  DenseTail& tail = step_->tail ? *step_->tail : *tail_;
  WriteTailRows(shape(), policy_, source, dense_rows() + step_->new_tokens, layer, tail);
  step_->new_slabs[layer] = std::move(slab);
  if (!whole) {
    // Frees this layer before the next one seals: the peak is one layer less.
    source = PromptRows();
    SpoilSegment();
  }
  return tail;
}

Status Sequence::CheckStepComplete() {
  const std::lock_guard lock(mutex_);
  return CheckComplete();
}

Status Sequence::CheckComplete() const {
  if (!step_) return {KVP_INVALID_STATE, "the sequence has no open step to commit"};
  if (step_->layer_running) return {KVP_BUSY, "the sequence is in a run"};
  for (int layer = 0; layer < shape().layers; ++layer)
    if (!step_->layer_done[layer])
      return {KVP_INVALID_STATE, "layer " + std::to_string(layer) + " did not run in this step, or failed"};
  return {};
}

Status Sequence::CommitStep() {
  const std::lock_guard lock(mutex_);
  Status status = CheckComplete();
  if (!status.ok()) return status;
  if (step_->probes) {
    segment_->probed = true;
    step_.reset();
    return {};
  }
  const bool prompt = StepIsPrompt();
  for (int layer = 0; layer < shape().layers; ++layer)
    // A prompt that seals takes the rows of what was packed before.
    if (step_->packs[layer] || (prompt && step_->seals)) packed_[layer] = std::move(step_->packs[layer]);
  TileSlabs& sealed = prompt ? step_->new_slabs : packed_;
  const int64_t sealed_tokens = step_->seals && sealed[0] ? sealed[0]->tokens() : 0;
  if (step_->seals && !prompt) {
    DenseTail& target = step_->tail ? *step_->tail : *tail_;
    target.CopyFrom(*tail_, kTileTokens, static_cast<int>(dense_rows()) + 1 - kTileTokens);
  }
  for (int layer = 0; layer < shape().layers; ++layer) {
    if (sealed_tokens > 0) step_->slabs[layer]->Add(std::move(sealed[layer]), prompt);
    CommitLayer(layer);
  }
  if (step_->tail) tail_ = std::move(step_->tail);
  length_ += step_->new_tokens;
  sealed_ += sealed_tokens;
  if (sealed_tokens > 0) last_sealing_ = length_;
  SavedState checkpoint = std::move(step_->checkpoint);
  step_.reset();
  if (prompt && !segment_->deferred && length_ == SegmentEnd()) {
    segment_.reset();
    AddCheckpoint(std::move(checkpoint));
  }
  return {};
}

// What the step made of a layer takes the place of what it was.
void Sequence::CommitLayer(int layer) {
  LayerState& state = layers_[layer];
  if (step_->scores[layer]) state.scores = std::move(step_->scores[layer]);
  if (state.scores && !StepIsPrompt()) state.scores->AddStep();
  if (step_->slabs[layer]) state.slabs = std::move(step_->slabs[layer]);
  if (step_->evicts[layer]) state.evicted_for = sealed_;
}

Status Sequence::RollbackStep() {
  const std::lock_guard lock(mutex_);
  if (!step_) return {};
  if (step_->layer_running) return {KVP_BUSY, "the sequence is in a run"};
  const bool spoiled = step_->spoiled_segment;
  step_.reset();
  if (!segment_) return {};
  if (spoiled) {
    // Rows that earlier steps of the segment had committed were freed, or what the step's attention adds to
    // theirs was added. What came before the segment is untouched.
    length_ = segment_->start;
    segment_.reset();
  } else if (length_ == segment_->start) {
    segment_->rows.clear();
  }
  return {};
}

}  // namespace kvprune
