#include "cache/pack_ahead.h"

#include <numeric>

#include "cache/pack_rows.h"
#include "pruning/channel_weights.h"

namespace kvprune {

Status PackTailTile(const Manager& manager, const Policy& policy, const DenseTail& tail, int64_t first_token,
                    int layer, int kv_head, const TileSlab& slab) {
  const TileFormat& format = slab.format(kv_head);
  float keys[kTileTokens * kMaxHeadSize];
  float values[kTileTokens * kMaxHeadSize];
  float value_weights[kMaxHeadSize];
  tail.Read(layer, kv_head, 0, kTileTokens, keys, values);
  uint8_t* channels = slab.key_channels(kv_head);
  std::iota(channels, channels + format.head_size, uint8_t{0});
  PackRules rules{.format = format,
                  .key_channels = channels,
                  .key_pattern = policy.key_pattern,
                  .value_pattern = policy.value_pattern};
  if (policy.value_score == ValueScore::kOutputWeight && format.value.bitmap) {
    Status status =
        OutputWeights(manager.output_gram().Find(layer, kv_head), format.head_size, value_weights);
    if (!status.ok()) return status;
    rules.value_weights = value_weights;
  }
  return PackRows(rules, keys, values, nullptr, first_token, slab.tile(kv_head, 0));
}

Status PackAheadOfPrompt(const Manager& manager, const Policy& policy, const DenseTail& tail,
                         int64_t first_token, int64_t length, int layer, TaskRunner& tasks,
                         std::shared_ptr<TileSlab>* slab) {
  const ModelShape& shape = manager.shape();
  if (layer >= PackAhead::PackedLayers(policy, shape.layers, length - first_token)) return {};
  std::shared_ptr<TileSlab> made;
  Status status = TileSlab::Create(manager.account(), GeneratedTileFormat(policy, layer, shape.head_size),
                                   shape.kv_heads, 1, &made);
  if (!status.ok()) return status;
  status = tasks.Try(static_cast<size_t>(shape.kv_heads), [&](size_t head) {
    return PackTailTile(manager, policy, tail, first_token, layer, static_cast<int>(head), *made);
  });
  if (status.ok()) *slab = std::move(made);
  return status;
}

}  // namespace kvprune
