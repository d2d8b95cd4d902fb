#ifndef KVPRUNE_CACHE_SEQUENCE_H_
#define KVPRUNE_CACHE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cache/dense_tail.h"
#include "cache/manager.h"
#include "cache/prompt_rows.h"
#include "cache/row_scores.h"
#include "cache/slab_list.h"
#include "cache/status.h"
#include "cache/tile_slab.h"
#include "pruning/policy.h"

namespace kvprune {

using TileSlabs = std::vector<std::shared_ptr<const TileSlab>>;

// The KV cache of one conversation: per layer sealed slabs, oldest first, then dense rows.
//
//   tokens:  [ sealed slabs ........ | dense tail ]        between steps
//            [ sealed slabs ........ | prompt rows ..... ] while a segment is open (they begin with the tail)
//
// A deferred segment stays open once it is full: other sequences are sealed from its rows.
//
// Every function locks but those marked "run": they are for the holder of a LayerRun, which keeps every other
// change out.
class Sequence {
 public:
  static Status Create(std::shared_ptr<Manager> manager, const Policy& policy,
                       std::shared_ptr<Sequence>* sequence);
  ~Sequence() { manager_->CountSequences(-1); }

  const Manager& manager() const { return *manager_; }
  const ModelShape& shape() const { return manager_->shape(); }
  const Policy& policy() const { return policy_; }

  Status Fork(std::shared_ptr<Sequence>* fork);
  Status OpenSegment(int64_t tokens);
  Status OpenDeferredSegment(int64_t tokens, std::span<const Policy> policies, int64_t probe_tokens);
  Status Fill(int layer, int64_t tokens, const float* keys, const float* values, const float* queries,
              int64_t query_tokens);
  Status SealAs(const Policy& policy, std::shared_ptr<Sequence>* sealed);
  Status Checkpoint();
  Status Rewind(int64_t length);
  Status GetInfo(kvp_sequence_info* info);
  Status ReadRows(int layer, int kv_head, int64_t rows, float* keys, float* values);
  // kept[t] = 1 where the head still has token t's row, else 0.
  Status ReadKept(int layer, int kv_head, int64_t tokens, uint8_t* kept);
  Status GetHead(int layer, int kv_head, kvp_head_info* info);
  // Refuses every later step, so that a released sequence cannot be left inside one.
  Status Close();

  Status BeginStep(int new_tokens);
  // A step whose tokens follow a full deferred segment and are dropped at its end.
  Status BeginProbe(int new_tokens);
  // Whether every layer of the open step has run, so that it may be committed.
  Status CheckStepComplete();
  Status CommitStep();
  Status RollbackStep();

  // Run: what a layer's attention reads.
  bool StepIsPrompt() const { return segment_.has_value(); }
  int step_tokens() const { return step_->new_tokens; }
  int64_t length() const { return length_; }
  int64_t sealed_tokens() const { return sealed_; }
  // As the step has changed them, if it has.
  const SlabList& slabs(int layer) const {
    return step_ && step_->slabs[layer] ? *step_->slabs[layer] : *layers_[layer].slabs;
  }
  DenseTail& tail() const { return *tail_; }
  // Committed rows after the sealed ones: in the tail, or in the prompt rows of an open segment.
  int64_t dense_rows() const { return length_ - sealed_; }
  int64_t segment_start() const { return segment_->start; }
  int64_t segment_tokens() const { return segment_->tokens; }

  // Run: the prompt rows of `layer`, filled up to dense_rows(), with what was recorded of them.
  PromptRows& PreparePromptRows(int layer);
  // Run: the step is about to change what earlier steps of its segment left.
  void SpoilSegment() { step_->spoiled_segment = length_ > segment_->start; }
  // Run: whether the step's tokens belong to no segment.
  bool StepProbes() const { return step_->probes; }
  // Run: whether the step fills its segment, so that the layer is to be sealed.
  bool StepSeals() const { return step_->seals; }
  // Run: takes the slab of a layer's sealed rows (null when none leave the window) and moves the rows after
  // them into the tail, which it returns.
  const DenseTail& FinishSealedLayer(int layer, std::shared_ptr<const TileSlab> slab);
  // Run, after that: takes what was packed of that tail, or null.
  void KeepPacked(int layer, std::shared_ptr<const TileSlab> slab) { step_->packs[layer] = std::move(slab); }
  // Run: the slab into which the step packs the tail's oldest tile of `layer`, or null.
  const TileSlab* StepPacks(int layer) const { return step_->packs[layer].get(); }
  // Run: other slabs with the same tokens take the place of the layer's; the list has room for another.
  void ReplaceSlabs(int layer, std::shared_ptr<SlabList> slabs) { step_->slabs[layer] = std::move(slabs); }
  // Run: whether the step evicts rows of `layer` to make room for the tail's oldest tile.
  bool StepEvicts(int layer) const { return step_->evicts[layer]; }
  // Run: the scores of the layer's rows, as the step has changed them, if it has; null where policy keeps
  // none.
  RowScores* scores(int layer) const {
    return step_ && step_->scores[layer] ? step_->scores[layer].get() : layers_[layer].scores.get();
  }
  // Run: whether a checkpoint has them too, so that they must not change.
  bool SharesScores(int layer) const {
    return step_->scores[layer] == nullptr && layers_[layer].scores.use_count() > 1;
  }
  void ReplaceScores(int layer, std::shared_ptr<RowScores> scores) {
    step_->scores[layer] = std::move(scores);
  }

 private:
  friend class LayerRun;

  struct Segment {
    int64_t start;
    int64_t tokens;
    PromptNeeds needs;
    bool deferred = false;
    int64_t probe_tokens = 0;        // most tokens of a probe step
    bool probed = false;             // a probe step was committed
    std::vector<PromptRows> rows{};  // per layer; empty while the whole segment is read in one step
    std::vector<bool> filled{};      // layers of a deferred segment whose rows came without a step
  };
  // What is sealed of a layer. All but the newest scores are shared with checkpoints.
  struct LayerState {
    std::shared_ptr<const SlabList> slabs;
    std::shared_ptr<RowScores> scores{};  // null where the policy keeps none
    int64_t evicted_for = -1;             // sealed tokens when rows were last evicted while decoding
  };
  struct SavedState {
    int64_t length = 0;
    int64_t sealed = 0;
    int64_t last_sealing = 0;
    std::vector<LayerState> layers{};
    std::shared_ptr<DenseTail> tail{};
  };
  struct Step {
    Step(int tokens, int layers)
        : new_tokens(tokens),
          layer_done(layers),
          new_slabs(layers),
          packs(layers),
          slabs(layers),
          scores(layers),
          evicts(layers) {}

    int new_tokens;
    bool seals = false;
    bool probes = false;
    bool layer_running = false;
    std::vector<bool> layer_done;
    PromptRows whole;     // one layer's rows, when one step reads the whole segment
    TileSlabs new_slabs;  // per layer, of a prompt that seals
    TileSlabs packs;      // per layer, joins packed_ at commit
    // Per layer, replace those of layers_ at commit; null where they stay. One more slab fits into each.
    std::vector<std::shared_ptr<SlabList>> slabs;
    std::vector<std::shared_ptr<RowScores>> scores;
    std::vector<bool> evicts;         // per layer: decides what to evict
    std::shared_ptr<DenseTail> tail;  // replaces tail_ at commit
    SavedState checkpoint;            // room for the one at a segment's end
    // A layer's rows or record are no longer as the segment's earlier steps left them.
    bool spoiled_segment = false;
  };

  Sequence(std::shared_ptr<Manager> manager, const Policy& policy);

  Status CheckIdle() const;
  Status CheckHead(int layer, int kv_head) const;
  Status CheckRows(int layer, int kv_head, int64_t rows) const;
  // Whether rows or scores of the layers change without being sealed.
  bool Evolves() const { return policy_.eviction.while_decoding; }
  SavedState MakeCheckpoint() const;
  // Allocates nothing where `room` has its layers and checkpoints_ room.
  void AddCheckpoint(SavedState room);
  Status NewTail(std::shared_ptr<DenseTail>* tail) const;
  void Restore(const SavedState& saved);
  // Opens a segment; needs the lock.
  Status Open(int64_t tokens, const PromptNeeds& needs);
  // Whether a deferred segment is open and has all its tokens.
  Status CheckFull() const;
  // What a step would have recorded of a filled layer.
  void RecordFilled(int layer, PromptRecord& record) const;
  // Creates the rows of the segment in every layer, filled up to dense_rows(), unless they are there.
  Status PrepareSegmentRows();
  int64_t SegmentEnd() const { return segment_->start + segment_->tokens; }
  int64_t SegmentRowCapacity() const { return SegmentEnd() - sealed_ + segment_->probe_tokens; }
  bool StepIsWholeSegment() const { return segment_->rows.empty(); }

  Status BeginLayer(int layer);
  void EndLayer(int layer, bool done);
  Status BeginPromptStep(Step* step);
  Status BeginDecodeStep(Step* step);
  Status CheckComplete() const;
  void ReserveForSealing(Step* step);
  Status PlanPacking(Step* step) const;
  Status PlanEviction(Step* step) const;
  void CommitLayer(int layer);

  const std::shared_ptr<Manager> manager_;
  const Policy policy_;

  std::mutex mutex_;
  bool closed_ = false;
  int64_t length_ = 0;        // committed tokens
  int64_t sealed_ = 0;        // of these in slabs
  int64_t last_sealing_ = 0;  // length at which rows last left the tail
  std::vector<LayerState> layers_;
  // Per layer: the tail's oldest 64 rows, packed but not sealed yet, or null (pack_ahead.h).
  TileSlabs packed_;
  std::shared_ptr<DenseTail> tail_;
  std::optional<Segment> segment_;
  std::optional<Step> step_;
  const SavedState empty_;               // at length 0
  std::vector<SavedState> checkpoints_;  // ascending lengths
};

// One layer's run within a sequence's open step: while it lives the step can be neither ended nor run again.
// A run that ends without Complete() leaves the step one that cannot be committed.
class LayerRun {
 public:
  LayerRun() = default;
  LayerRun(LayerRun&& other) noexcept
      : sequence_(std::exchange(other.sequence_, nullptr)), layer_(other.layer_), done_(other.done_) {}
  LayerRun& operator=(LayerRun&&) = delete;
  ~LayerRun() {
    if (sequence_ != nullptr) sequence_->EndLayer(layer_, done_);
  }

  static Status Begin(Sequence& sequence, int layer, LayerRun* run) {
    Status status = sequence.BeginLayer(layer);
    if (status.ok()) {
      run->sequence_ = &sequence;
      run->layer_ = layer;
    }
    return status;
  }
  void Complete() { done_ = true; }

 private:
  Sequence* sequence_ = nullptr;
  int layer_ = 0;
  bool done_ = false;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEQUENCE_H_
