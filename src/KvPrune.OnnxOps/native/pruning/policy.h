#ifndef KVPRUNE_PRUNING_POLICY_H_
#define KVPRUNE_PRUNING_POLICY_H_

#include <cstdint>

#include "cache/model_shape.h"
#include "cache/status.h"
#include "kernels/tile_format.h"

namespace kvprune {

// What is removed from a sequence's K and V and how the rest is stored. Pure data; see kvp_policy.
struct Policy {
  Storage key_storage;
  Storage value_storage;
  float key_channel_sparsity;
  float key_sparsity;
  float value_sparsity;
  int recent_window;
  int observation_window;

  // ThinK scores channels with the prompt's last queries.
  bool IsQueryAware() const { return key_channel_sparsity > 0; }
  Storage TailKeyStorage() const { return TailStorage(key_storage); }
  Storage TailValueStorage() const { return TailStorage(value_storage); }
  // The dense tail holds the recent window and the tile that is being filled.
  int TailCapacity() const { return recent_window + kTileTokens; }
  // Of `dense_rows` rows after the last sealed one, how many leave the window in whole tiles.
  int64_t SealableTiles(int64_t dense_rows) const {
    return dense_rows > recent_window ? (dense_rows - recent_window) / kTileTokens : 0;
  }

 private:
  static Storage TailStorage(Storage storage) {
    return storage == Storage::kFloat32 || storage == Storage::kFloat16 ? storage : Storage::kBFloat16;
  }
};

// A recent window beyond the model's context is the context.
Status MakePolicy(const kvp_policy& source, const ModelShape& shape, Policy* policy);

// ThinK removes floor(lambda * head_size) channels (arXiv 2407.21018), never all of them.
int KeptChannels(const Policy& policy, int head_size);
// MUSTAFAR keeps round((1 - s) * width) elements of a row, at least one (arXiv 2505.22913).
int KeptElements(float sparsity, int width);

// Tiles sealed at a prompt's end carry ThinK's channel mask; those sealed while generating keep every
// channel, as in the paper. Generated rows still in the tail when a later prompt ends are sealed with that
// prompt.
TileFormat PromptTileFormat(const Policy& policy, int head_size);
TileFormat GeneratedTileFormat(const Policy& policy, int head_size);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_POLICY_H_
