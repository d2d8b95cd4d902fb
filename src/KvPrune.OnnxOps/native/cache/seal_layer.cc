#include "cache/seal_layer.h"

#include "kernels/kernels.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

void ChooseChannels(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int kv_head,
                    const TileSlab& slab) {
  uint8_t* channels = slab.key_channels(kv_head);
  if (!policy.IsQueryAware()) {
    for (int j = 0; j < shape.head_size; ++j) channels[j] = static_cast<uint8_t>(j);
    return;
  }
  const ObservedQueries observed = rows.LastQueries(policy.observation_window);
  SelectThinkChannels(observed.queries + static_cast<int64_t>(kv_head) * shape.group() * shape.head_size,
                      observed.tokens, observed.stride, shape.group(), rows.keys(kv_head), slab.tokens(),
                      shape.head_size, slab.format(kv_head).key_channels, channels);
}

}  // namespace

Status SealPromptRows(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                      const Policy& policy, const PromptRows& rows, int64_t dense_rows, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab) {
  const int64_t tiles = policy.SealableTiles(dense_rows);
  if (tiles == 0) return {};
  std::shared_ptr<TileSlab> made;
  Status status =
      TileSlab::Create(account, PromptTileFormat(policy, shape.head_size), shape.kv_heads, tiles, &made);
  if (!status.ok()) return status;
  tasks.For(static_cast<size_t>(shape.kv_heads),
            [&](size_t head) { ChooseChannels(shape, policy, rows, static_cast<int>(head), *made); });
  const int64_t tile_floats = static_cast<int64_t>(kTileTokens) * shape.head_size;
  tasks.For(static_cast<size_t>(shape.kv_heads * tiles), [&](size_t index) {
    const int head = static_cast<int>(static_cast<int64_t>(index) / tiles);
    const int64_t tile = static_cast<int64_t>(index) % tiles;
    Kernels().pack_tile(made->format(head), rows.keys(head) + tile * tile_floats,
                        rows.values(head) + tile * tile_floats, shape.head_size, made->key_channels(head),
                        made->value_channels(head), made->tile(head, tile));
  });
  *slab = std::move(made);
  return {};
}

void WriteTailRows(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int64_t dense_rows,
                   int layer, DenseTail& tail) {
  const int64_t first = policy.SealableTiles(dense_rows) * kTileTokens;
  for (int head = 0; head < shape.kv_heads; ++head)
    for (int64_t row = first; row < dense_rows; ++row)
      tail.Write(layer, head, static_cast<int>(row - first), rows.keys(head) + row * shape.head_size,
                 rows.values(head) + row * shape.head_size);
}

}  // namespace kvprune
