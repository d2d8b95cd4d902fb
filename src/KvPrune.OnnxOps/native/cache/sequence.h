#ifndef KVPRUNE_CACHE_SEQUENCE_H_
#define KVPRUNE_CACHE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cache/dense_tail.h"
#include "cache/manager.h"
#include "cache/prompt_rows.h"
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
  Status Checkpoint();
  Status Rewind(int64_t length);
  Status GetInfo(kvp_sequence_info* info);
  Status ReadRows(int layer, int kv_head, int64_t rows, float* keys, float* values);
  // kept[t] = 1 where the head still has token t's row, else 0.
  Status ReadKept(int layer, int kv_head, int64_t tokens, uint8_t* kept);
  // Refuses every later step, so that a released sequence cannot be left inside one.
  Status Close();

  Status BeginStep(int new_tokens);
  // Whether every layer of the open step has run, so that it may be committed.
  Status CheckStepComplete();
  Status CommitStep();
  Status RollbackStep();

  // Run: what a layer's attention reads.
  bool StepIsPrompt() const { return segment_.has_value(); }
  int step_tokens() const { return step_->new_tokens; }
  int64_t length() const { return length_; }
  int64_t sealed_tokens() const { return sealed_; }
  const SlabList& slabs(int layer) const { return slabs_[layer]; }
  DenseTail& tail() const { return *tail_; }
  // Committed rows after the sealed ones: in the tail, or in the prompt rows of an open segment.
  int64_t dense_rows() const { return length_ - sealed_; }
  int64_t segment_start() const { return segment_->start; }

  // Run: the prompt rows of `layer`, filled up to dense_rows().
  PromptRows& PreparePromptRows(int layer);
  // Run: whether the step fills its segment, so that the layer is to be sealed.
  bool StepSeals() const { return step_->seals; }
  // Run: creates the slab that takes a layer's sealed rows (null when none leave the window).
  Status CreatePromptSlab(std::shared_ptr<TileSlab>* slab);
  // Run: takes the sealed slab and moves the rows after it into the tail, which it returns.
  const DenseTail& FinishSealedLayer(int layer, std::shared_ptr<const TileSlab> slab);
  // Run, after that: creates the slab of the tail's oldest tile where it is to be packed by now, to be seen
  // as StepPacks(layer).
  Status PackAheadOfPrompt(int layer);
  // Run: the slab into which the step packs the tail's oldest tile of `layer`, or null.
  const TileSlab* StepPacks(int layer) const { return step_->packs[layer].get(); }

 private:
  friend class LayerRun;

  struct Segment {
    int64_t start;
    int64_t tokens;
    std::vector<PromptRows> rows;  // per layer; empty while the whole segment is read in one step
  };
  struct Step {
    int new_tokens;
    bool seals = false;
    bool layer_running = false;
    std::vector<bool> layer_done;
    PromptRows whole;                 // one layer's rows, when one step reads the whole segment
    TileSlabs new_slabs;              // per layer, of a prompt that seals
    TileSlabs packs;                  // per layer, joins packed_ at commit
    std::shared_ptr<DenseTail> tail;  // replaces tail_ at commit
    bool consumed_rows = false;       // a layer's committed prompt rows were sealed and freed
  };
  struct SavedState {
    int64_t length;
    int64_t sealed;
    int64_t last_sealing;
    size_t slab_count;
    int64_t slab_bytes;
    std::shared_ptr<DenseTail> tail;
  };

  Sequence(std::shared_ptr<Manager> manager, const Policy& policy);

  Status CheckIdle() const;
  Status CheckRows(int layer, int kv_head, int64_t rows) const;
  void AddCheckpoint();
  Status NewTail(std::shared_ptr<DenseTail>* tail) const;
  void RestoreTail(const SavedState& saved);
  int64_t SegmentRowCapacity() const { return segment_->start - sealed_ + segment_->tokens; }
  bool StepIsWholeSegment() const { return segment_->rows.empty(); }

  Status BeginLayer(int layer);
  void EndLayer(int layer, bool done);
  Status BeginPromptStep(Step* step);
  Status BeginDecodeStep(Step* step);
  Status CheckComplete() const;
  void ReserveForSealing();
  Status PlanPacking(Step* step) const;
  void Seal(TileSlabs& slabs);

  const std::shared_ptr<Manager> manager_;
  const Policy policy_;
  const TileFormat prompt_format_;
  const TileFormat generated_format_;

  std::mutex mutex_;
  bool closed_ = false;
  int64_t length_ = 0;        // committed tokens
  int64_t sealed_ = 0;        // of these in slabs
  int64_t last_sealing_ = 0;  // length at which rows last left the tail
  std::vector<SlabList> slabs_;
  int64_t slab_bytes_ = 0;
  TileSlabs
      packed_;  // per layer: the tail's oldest 64 rows, packed but not sealed yet, or null (pack_ahead.h)
  std::shared_ptr<DenseTail> tail_;
  std::optional<Segment> segment_;
  std::optional<Step> step_;
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
