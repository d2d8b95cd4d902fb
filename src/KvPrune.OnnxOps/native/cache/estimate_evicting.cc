#include "cache/estimate_evicting.h"

#include <algorithm>

#include "cache/decode_upkeep.h"
#include "cache/pack_ahead.h"
#include "cache/row_scores.h"
#include "cache/tile_slab.h"
#include "pruning/eviction_budget.h"

namespace kvprune {
namespace {

int64_t CeilingOf(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Of the heads of a layer.
int64_t ScoreBytes(const Policy& policy, std::vector<int64_t> tiles) {
  if (!policy.ScoresWhileDecoding()) return 0;
  for (int64_t& rows : tiles) rows *= kTileTokens;
  return RowScores::Bytes(tiles, policy.TailCapacity());
}

// Most tiles of a head that are sealed at once: those of the prompt, or what the budget leaves, or what
// cannot go, as fewer than 64 rows of a group of slabs beside the sinks cannot.
int64_t MostTiles(const ModelShape& shape, const Policy& policy, int layer, int64_t prompt_tokens,
                  int64_t generated_tokens, int64_t prompt_tiles) {
  int64_t target = 0;
  for (const int64_t generated : {int64_t{0}, generated_tokens}) {
    const int64_t tokens = prompt_tokens + generated + policy.TailCapacity();
    target = std::max(target, LeavingToKeep(policy, shape.layers, layer, tokens, tokens));
  }
  const bool one_group = PromptTileFormat(policy, layer, shape.head_size) ==
                             GeneratedTileFormat(policy, layer, shape.head_size) &&
                         policy.output_error == 0;
  const int64_t stuck =
      CeilingOf(policy.eviction.sink_tokens + kTileTokens - 1, kTileTokens) + (one_group ? 0 : 1);
  // Heads with budgets of their own give up as many rows as others while they have some.
  const int64_t uneven = policy.eviction.heads == HeadBudgets::kUniform ? 0 : 2;
  const int64_t all = CeilingOf(prompt_tokens + generated_tokens, kTileTokens);
  return std::min(all, std::max({prompt_tiles, (target + kTileTokens / 2) / kTileTokens, stuck}) + uneven);
}

}  // namespace

int64_t EmptyScoreBytes(const ModelShape& shape, const Policy& policy) {
  return shape.layers * ScoreBytes(policy, std::vector<int64_t>(static_cast<size_t>(shape.kv_heads), 0));
}

int64_t PromptScoreBytes(const ModelShape& shape, const Policy& policy,
                         const std::vector<std::vector<int64_t>>& tiles) {
  int64_t bytes = 0;
  for (int layer = 0; layer < shape.layers; ++layer)
    bytes += ScoreBytes(policy, tiles[static_cast<size_t>(layer)]);
  return bytes;
}

int64_t EvictingBytes(const ModelShape& shape, const Policy& policy, int64_t prompt_tokens,
                      int64_t generated_tokens, const std::vector<std::vector<int64_t>>& prompt_tiles) {
  const int64_t dense = prompt_tokens - policy.SealableTiles(prompt_tokens) * kTileTokens;
  // Layers that evict in one step, each of which then has its rows twice.
  const int64_t steps_left =
      std::max<int64_t>(1, policy.TailCapacity() - std::max(dense, PackAhead::FirstDenseRows(policy)));
  const int64_t at_once = CeilingOf(shape.layers, steps_left);
  int64_t bytes = 0, largest = 0;
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::vector<int64_t>& prompt = prompt_tiles[static_cast<size_t>(layer)];
    int64_t all = 0;
    for (const int64_t tiles : prompt) all += tiles;
    const int64_t most = MostTiles(shape, policy, layer, prompt_tokens, generated_tokens,
                                   CeilingOf(all, static_cast<int64_t>(prompt.size())));
    const TileFormat generated = GeneratedTileFormat(policy, layer, shape.head_size);
    const TileFormat sealed = PromptTileFormat(policy, layer, shape.head_size);
    const int64_t span = CeilingOf(prompt_tokens + generated_tokens, kTileTokens) * kTileTokens;
    const std::vector<HeadRun> runs(prompt.size(),
                                    {sealed.stride > generated.stride ? sealed : generated, most, true});
    // What one-tile slabs that are not joined yet, and the one packed ahead, take on top of their tiles.
    const int64_t one = TileSlab::Bytes(generated, shape.kv_heads, 1);
    const int64_t tile_bytes = shape.kv_heads * static_cast<int64_t>(generated.stride);
    const int64_t own = TileSlab::Bytes(span, runs) + one +
                        static_cast<int64_t>(kJoinedSlabs) * (one - tile_bytes) +
                        ScoreBytes(policy, std::vector<int64_t>(prompt.size(), most + 1));
    bytes += own;
    largest = std::max(largest, own);
  }
  return bytes + std::min<int64_t>(at_once, shape.layers) * largest;
}

}  // namespace kvprune
