#ifndef KVPRUNE_CACHE_SEAL_HEAD_H_
#define KVPRUNE_CACHE_SEAL_HEAD_H_

#include <cstdint>
#include <limits>
#include <memory>

#include "cache/memory.h"
#include "cache/pack_rows.h"
#include "cache/slab_list.h"
#include "cache/tile_slab.h"
#include "pruning/head_rows.h"
#include "pruning/policy.h"
#include "pruning/query_attention.h"

namespace kvprune {

// What a KV head's channels and elements are chosen by at the end of a prompt segment.
struct HeadSource {
  HeadRows rows;
  QueryRows observed;     // at their rows, where Policy::NeedsObservedQueries()
  AttentionRule rule;     // its head_size in any case
  const SlabList* past;   // what was sealed of the layer before
  int64_t sealed_tokens;  // in it
  const float* gram;      // [head_size, head_size] where Policy::NeedsOutputGram()
};

// One KV head's rows on their way into a slab. Choose says how much room they take, WriteChannels and Pack
// fill it. Policy and source stay the caller's until then; the object stays where it is.
class HeadSealing {
 public:
  HeadSealing() = default;
  HeadSealing(const HeadSealing&) = delete;
  HeadSealing& operator=(const HeadSealing&) = delete;

  // Takes scratch from `account`.
  Status Choose(const std::shared_ptr<MemoryAccount>& account, const Policy& policy, int layer, int kv_head,
                const HeadSource& source);
  // In place of the settings that Choose took.
  void Use(const EntrySetting& key, const EntrySetting& value);

  // The head's part of the slab.
  HeadRun Run() const;
  void WriteChannels(const TileSlab& slab, int kv_head) const;
  // The head's rows from 64 * index on. Safe from several threads.
  Status Pack(int64_t index, uint8_t* tile) const;

  const PackRules& rules() const { return rules_; }
  const HeadSource& source() const { return source_; }

 private:
  Status Score(const std::shared_ptr<MemoryAccount>& account, const LayerSparsity& sparsity);
  Status WeighTokens(const std::shared_ptr<MemoryAccount>& account);

  const Policy* policy_ = nullptr;
  HeadSource source_{};
  PackRules rules_{};
  double key_scores_[kMaxHeadSize];  // of channels, where some may go
  double value_scores_[kMaxHeadSize];
  uint8_t key_channels_[kMaxHeadSize];
  uint8_t value_channels_[kMaxHeadSize];
  float key_weights_[kMaxHeadSize];
  float value_weights_[kMaxHeadSize];
  Buffer token_weights_;  // floats [kept_count]
  float error_ = std::numeric_limits<float>::quiet_NaN();
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEAL_HEAD_H_
