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

// Compresses the `kept` ones of the rows that leave the window. `slab` stays null when none leave.
Status SealPromptRows(const LayerSeal& seal, const KeptTokens& kept, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab);

// Writes the rows that stay, those after the sealed ones, into `tail` from its row 0 on.
void WriteTailRows(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int64_t dense_rows,
                   int layer, DenseTail& tail);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SEAL_LAYER_H_
