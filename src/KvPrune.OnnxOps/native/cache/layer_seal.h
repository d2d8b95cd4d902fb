#ifndef KVPRUNE_CACHE_LAYER_SEAL_H_
#define KVPRUNE_CACHE_LAYER_SEAL_H_

#include <cstdint>

#include "cache/manager.h"
#include "cache/prompt_rows.h"
#include "cache/slab_list.h"
#include "pruning/policy.h"

namespace kvprune {

// One layer's rows at the end of a prompt, to be compressed under `policy`.
struct LayerSeal {
  const Manager& manager;
  const Policy& policy;
  int layer;
  const PromptRows& rows;  // with what PromptNeeds::Of(policy) names in their record
  const SlabList& past;    // sealed before the rows
  int64_t sealed_tokens;   // in it
  int64_t dense_rows;      // the former tail, then the segment
  int64_t segment_tokens;

  const ModelShape& shape() const { return manager.shape(); }
  // Rows that leave the window, the oldest, in whole tiles.
  int64_t leaving() const { return policy.SealableTiles(dense_rows) * kTileTokens; }
  // The row of the segment's first token.
  int64_t segment_row() const { return dense_rows - segment_tokens; }
  // All of one KV head's rows.
  TokenRows Keys(int kv_head) const { return {rows.keys(kv_head), shape().head_size, dense_rows, 0}; }
  // Queries of the policy's observation window, at their rows.
  QueryRows Observed(int kv_head) const {
    return rows.record().LastQueries(policy.observation_window, kv_head, segment_row());
  }
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_LAYER_SEAL_H_
