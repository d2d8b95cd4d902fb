#ifndef KVPRUNE_CACHE_SEQUENCE_H_
#define KVPRUNE_CACHE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cache/dense_tail.h"
#include "cache/manager.h"
#include "cache/prompt_rows.h"
#include "cache/status.h"
#include "cache/tile_slab.h"
#include "pruning/policy.h"

namespace kvprune {

using SlabList = std::vector<std::shared_ptr<const TileSlab>>;

// The KV cache of one conversation: per layer sealed slabs, oldest first, then a dense tail.
//
//   tokens:  [ sealed slabs ........ | dense tail ]        between steps
//            [ sealed slabs ........ | prompt rows ..... ] while a segment is open (they begin with the tail)
//
// The public functions lock; those marked "step" are called by the layers of an open step, one layer at a
// time, and need no lock because an open step keeps every other caller out.
class Sequence {
 public:
  static Status Create(std::shared_ptr<Manager> manager, const Policy& policy,
                       std::shared_ptr<Sequence>* sequence);
  ~Sequence() { manager_->AddSequence(-1); }

  const Manager& manager() const { return *manager_; }
  const ModelShape& shape() const { return manager_->shape(); }
  const Policy& policy() const { return policy_; }

  Status Fork(std::shared_ptr<Sequence>* fork);
  Status OpenSegment(int64_t tokens);
  Status Checkpoint();
  Status Rewind(int64_t length);
  Status GetInfo(kvp_sequence_info* info);
  Status ReadRows(int layer, int kv_head, float* keys, float* values);

  Status BeginStep(int new_tokens);
  // Whether every layer of the open step has run, so that it may be committed.
  Status CheckStepComplete();
  void CommitStep();
  void RollbackStep();
  // Whether a step is open: callable without one.
  bool InStep();

  // Step: state that a layer's attention reads.
  bool StepIsPrompt() const { return segment_.has_value(); }
  int step_tokens() const { return step_->new_tokens; }
  int64_t length() const { return length_; }
  int64_t sealed_tokens() const { return sealed_; }
  const SlabList& slabs(int layer) const { return slabs_[layer]; }
  DenseTail& tail() const { return *tail_; }
  int tail_rows() const { return static_cast<int>(length_ - sealed_); }
  // Rows already in prompt_rows: the former tail and the segment's committed tokens.
  int64_t prompt_row_count() const { return length_ - sealed_; }
  int64_t segment_start() const { return segment_->start; }

  // Step: claims `layer` for this run. Each layer of a step runs exactly once.
  Status BeginLayer(int layer);
  // Step: the prompt rows of `layer`, filled up to prompt_row_count().
  Status PreparePromptRows(int layer, PromptRows** rows);
  // Step: whether the step fills its segment, so that FinishPromptLayer seals the layer.
  bool StepSeals() const { return step_->seals; }
  // Step: creates the slab that takes a layer's sealed rows (null when none leave the window).
  Status CreatePromptSlab(std::shared_ptr<TileSlab>* slab);
  // Step: takes the sealed slab and moves the rows after it into the tail.
  void FinishSealedLayer(int layer, std::shared_ptr<const TileSlab> slab);

 private:
  struct Segment {
    int64_t start;
    int64_t tokens;
    std::vector<PromptRows> rows;  // per layer; empty while the whole segment is read in one step
  };
  struct Step {
    int new_tokens;
    bool seals;
    std::vector<bool> layer_done;
    PromptRows whole;                 // one layer's rows, when one step reads the whole segment
    SlabList new_slabs;               // per layer
    std::shared_ptr<DenseTail> tail;  // replaces tail_ at commit
    bool lost_rows = false;           // a layer's committed prompt rows were sealed and freed
    std::vector<float> unpacked;      // one tile of K and V rows, for SealTail
  };
  struct SavedState {
    int64_t length;
    int64_t sealed;
    int64_t last_sealing;
    size_t slab_count;
    std::shared_ptr<DenseTail> tail;
  };

  Sequence(std::shared_ptr<Manager> manager, const Policy& policy);

  Status CheckUsable() const;
  Status CheckIdle() const;
  void AddCheckpoint();
  Status NewTail(std::shared_ptr<DenseTail>* tail) const;
  int64_t SegmentRowCapacity() const { return segment_->start - sealed_ + segment_->tokens; }
  bool StepIsWholeSegment() const {
    return segment_ && length_ == segment_->start && step_->new_tokens == segment_->tokens;
  }
  Status BeginPromptStep(int new_tokens, Step* step);
  Status BeginDecodeStep(int new_tokens, Step* step);
  void ReserveForSealing();
  void SealTail();

  const std::shared_ptr<Manager> manager_;
  const Policy policy_;
  const TileFormat prompt_format_;
  const TileFormat generated_format_;

  std::mutex mutex_;
  bool invalid_ = false;
  int64_t length_ = 0;        // committed tokens
  int64_t sealed_ = 0;        // of these in slabs
  int64_t last_sealing_ = 0;  // length at which rows last left the tail
  std::vector<SlabList> slabs_;
  std::shared_ptr<DenseTail> tail_;
  std::optional<Segment> segment_;
  std::optional<Step> step_;
  std::vector<SavedState> checkpoints_;  // ascending lengths
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEQUENCE_H_
