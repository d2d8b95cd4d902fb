#include "cache/pack_ahead.h"

#include "kernels/kernels.h"

namespace kvprune {

void PackTailTile(const DenseTail& tail, int layer, int kv_head, const TileSlab& slab) {
  const TileFormat& format = slab.format(kv_head);
  float keys[kTileTokens * kMaxHeadSize];
  float values[kTileTokens * kMaxHeadSize];
  tail.Read(layer, kv_head, 0, kTileTokens, keys, values);
  uint8_t* channels = slab.key_channels(kv_head);
  for (int j = 0; j < format.head_size; ++j) channels[j] = static_cast<uint8_t>(j);
  Kernels().pack_tile(format, keys, values, format.head_size, channels, nullptr, slab.tile(kv_head, 0));
}

}  // namespace kvprune
