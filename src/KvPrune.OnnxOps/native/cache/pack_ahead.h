#ifndef KVPRUNE_CACHE_PACK_AHEAD_H_
#define KVPRUNE_CACHE_PACK_AHEAD_H_

#include <algorithm>
#include <cstdint>

#include "cache/dense_tail.h"
#include "cache/manager.h"
#include "cache/parallel.h"
#include "cache/tile_slab.h"
#include "pruning/policy.h"

namespace kvprune {

// While a sequence decodes, the tail's oldest 64 rows are sealed in every layer at the same step: when the
// tail is full. The rows are there earlier, by min(recent window, 64) steps, and never change. So their tiles
// are packed layer by layer over these steps, and sealing only puts them in their place. Until then attention
// reads the rows.
struct PackAhead {
  // Committed dense rows from which on the oldest tile can be packed.
  static int64_t FirstDenseRows(const Policy& policy) {
    return std::max<int64_t>(kTileTokens, policy.recent_window);
  }

  // Layers that one step packs when nothing was missed.
  static int64_t LayersPerStep(const Policy& policy, int layers) {
    const int64_t steps = policy.TailCapacity() - FirstDenseRows(policy);
    return steps > 0 ? (layers + steps - 1) / steps : 0;
  }

  // Layers, the first ones, whose oldest tile is packed between steps when `dense_rows` rows are in the tail.
  static int64_t PackedLayers(const Policy& policy, int layers, int64_t dense_rows) {
    return std::clamp<int64_t>(LayersPerStep(policy, layers) * (dense_rows - FirstDenseRows(policy)), 0,
                               layers);
  }

  // Layers to pack in the step after `dense_rows` committed rows, when `unpacked` are left. Rewinding drops
  // packed tiles: what was missed is spread over the steps until the tail is full.
  static int64_t DueLayers(const Policy& policy, int layers, int64_t dense_rows, int64_t unpacked) {
    const int64_t steps_left = policy.TailCapacity() - dense_rows;
    if (steps_left <= 1) return unpacked;
    if (dense_rows < FirstDenseRows(policy)) return 0;
    return std::min(unpacked,
                    std::max(LayersPerStep(policy, layers), (unpacked + steps_left - 1) / steps_left));
  }
};

// Packs the tail's oldest 64 rows of one head into the only tile of `slab`, keeping every channel. No queries
// are observed while generating: scores by them are magnitudes here. `first_token` is the first row's.
Status PackTailTile(const Manager& manager, const Policy& policy, const DenseTail& tail, int64_t first_token,
                    int layer, int kv_head, const TileSlab& slab);

// At the end of a prompt, when `tail` holds the tokens from `first_token` to `length`: packs its oldest tile
// of `layer` where it is to be packed by now. Elsewhere `slab` stays null.
Status PackAheadOfPrompt(const Manager& manager, const Policy& policy, const DenseTail& tail,
                         int64_t first_token, int64_t length, int layer, TaskRunner& tasks,
                         std::shared_ptr<TileSlab>* slab);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PACK_AHEAD_H_
