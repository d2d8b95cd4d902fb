#ifndef KVPRUNE_CACHE_SEAL_LAYER_H_
#define KVPRUNE_CACHE_SEAL_LAYER_H_

#include <cstdint>
#include <memory>

#include "cache/choose_tokens.h"
#include "cache/dense_tail.h"
#include "cache/manager.h"
#include "cache/parallel.h"
#include "cache/prompt_rows.h"
#include "cache/slab_list.h"
#include "cache/tile_slab.h"
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
  // Queries of the policy's observation window, at their rows.
  QueryRows Observed(int kv_head) const {
    return rows.record().LastQueries(policy.observation_window, kv_head, segment_row());
  }
};

// Compresses the `kept` ones of the rows that leave the window. `slab` stays null when none leave.
Status SealPromptRows(const LayerSeal& seal, const KeptTokens& kept, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab);

// Writes the rows that stay, those after the sealed ones, into `tail` from its row 0 on.
void WriteTailRows(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int64_t dense_rows,
                   int layer, DenseTail& tail);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEAL_LAYER_H_
