#ifndef KVPRUNE_CACHE_PACK_ROWS_H_
#define KVPRUNE_CACHE_PACK_ROWS_H_

#include <cstdint>

#include "cache/status.h"
#include "kernels/tile_format.h"
#include "pruning/policy.h"

namespace kvprune {

// Which entries of a KV head's rows stay when they become tiles.
struct PackRules {
  TileFormat format;
  const uint8_t* key_channels;              // those the format keeps, ascending
  const uint8_t* value_channels = nullptr;  // null: all
  SparsityPattern key_pattern = SparsityPattern::kPerToken;
  SparsityPattern value_pattern = SparsityPattern::kPerToken;
  // What magnitudes are multiplied with before elements are ranked, [head_size]; null: nothing. Per token
  // only.
  const float* key_weights = nullptr;
  const float* value_weights = nullptr;
};

// Packs 64 rows, keys and values [64, head_size], into one tile: first the channels, then of these the
// elements, then rounded. token_weights [64] multiplies V's magnitudes in the per-channel pattern; null: not.
// Where elements are not ranked by plain magnitude within rows, a row that is not finite is an error, which
// names it as the token first_token + its index.
Status PackRows(const PackRules& rules, const float* keys, const float* values, const float* token_weights,
                int64_t first_token, uint8_t* tile);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PACK_ROWS_H_
