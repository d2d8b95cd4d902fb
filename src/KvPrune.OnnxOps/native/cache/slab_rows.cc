#include "cache/slab_rows.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace kvprune {
namespace {

bool IsKept(const uint64_t* kept, int64_t token) {
  return kept == nullptr || (kept[token / 64] >> (token % 64) & 1) != 0;
}

}  // namespace

void ReadSlabs(const SlabList& slabs, int kv_head, int head_size, int64_t tokens, float* keys,
               float* values) {
  std::fill_n(keys, tokens * head_size, 0.0f);
  std::fill_n(values, tokens * head_size, 0.0f);
  float tile_keys[kTileTokens * kMaxHeadSize];
  float tile_values[kTileTokens * kMaxHeadSize];
  for (const auto& [slab, first_token, prompt] : slabs) {
    int64_t row = 0;  // of the head's tiles
    for (int64_t token = 0; token < slab->tokens(); ++token) {
      if (!IsKept(slab->kept(kv_head), token)) continue;
      const int64_t in_tile = row % kTileTokens;
      if (in_tile == 0)
        UnpackTile(slab->format(kv_head), slab->tile(kv_head, row / kTileTokens), slab->key_channels(kv_head),
                   slab->value_channels(kv_head), tile_keys, tile_values);
      const int64_t to = (first_token + token) * head_size;
      std::copy_n(tile_keys + in_tile * head_size, head_size, keys + to);
      std::copy_n(tile_values + in_tile * head_size, head_size, values + to);
      ++row;
    }
  }
}

void ReadKeptTokens(const SlabList& slabs, int kv_head, int64_t tokens, uint8_t* kept) {
  std::fill_n(kept, tokens, uint8_t{0});
  for (const auto& [slab, first_token, prompt] : slabs)
    for (int64_t token = 0; token < slab->tokens(); ++token)
      kept[first_token + token] = IsKept(slab->kept(kv_head), token) ? 1 : 0;
}

}  // namespace kvprune
