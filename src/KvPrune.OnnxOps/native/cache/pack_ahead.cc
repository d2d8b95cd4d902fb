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

Status PackAheadOfPrompt(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                         const Policy& policy, const DenseTail& tail, int64_t dense_rows, int layer,
                         TaskRunner& tasks, std::shared_ptr<TileSlab>* slab) {
  const int64_t in_tail = dense_rows - policy.SealableTiles(dense_rows) * kTileTokens;
  if (layer >= PackAhead::PackedLayers(policy, shape.layers, in_tail)) return {};
  std::shared_ptr<TileSlab> made;
  Status status =
      TileSlab::Create(account, GeneratedTileFormat(policy, shape.head_size), shape.kv_heads, 1, &made);
  if (!status.ok()) return status;
  tasks.For(static_cast<size_t>(shape.kv_heads),
            [&](size_t head) { PackTailTile(tail, layer, static_cast<int>(head), *made); });
  *slab = std::move(made);
  return {};
}

}  // namespace kvprune
