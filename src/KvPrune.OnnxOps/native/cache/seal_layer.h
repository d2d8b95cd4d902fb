#ifndef KVPRUNE_CACHE_SEAL_LAYER_H_
#define KVPRUNE_CACHE_SEAL_LAYER_H_

#include <cstdint>
#include <memory>

#include "cache/dense_tail.h"
#include "cache/memory.h"
#include "cache/parallel.h"
#include "cache/prompt_rows.h"
#include "cache/tile_slab.h"
#include "pruning/policy.h"

namespace kvprune {

// Compresses under `policy` what leaves its window of one layer's `dense_rows` rows at the end of a prompt:
// the oldest policy.SealableTiles(dense_rows) tiles. `slab` stays null when none do. `rows` must have kept
// what PromptNeeds::Of(policy) names.
Status SealPromptRows(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                      const Policy& policy, const PromptRows& rows, int64_t dense_rows, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab);

// Writes the rows that stay, those after the sealed ones, into `tail` from its row 0 on.
void WriteTailRows(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int64_t dense_rows,
                   int layer, DenseTail& tail);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEAL_LAYER_H_
