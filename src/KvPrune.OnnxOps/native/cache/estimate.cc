#include "cache/estimate.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cache/dense_tail.h"
#include "cache/estimate_evicting.h"
#include "cache/pack_ahead.h"
#include "cache/prompt_rows.h"
#include "cache/tile_slab.h"
#include "pruning/eviction_budget.h"
#include "pruning/token_budgets.h"

namespace kvprune {

namespace {

// Bytes of each layer's slab of a prompt, and its tiles of each head. Where the scores divide a budget among
// heads it is the most that rounding to whole tiles can make of it, under an error budget the most that it
// may take.
std::vector<int64_t> SlabBytes(const ModelShape& shape, const Policy& policy, int64_t tokens,
                               std::vector<std::vector<int64_t>>* tiles) {
  std::vector<int64_t> bytes(static_cast<size_t>(shape.layers), 0);
  tiles->assign(static_cast<size_t>(shape.layers), std::vector<int64_t>(static_cast<size_t>(shape.kv_heads)));
  const int64_t leaving = policy.SealableTiles(tokens) * kTileTokens;
  if (leaving == 0) return bytes;
  const int64_t all_tiles = leaving / kTileTokens;
  for (int layer = 0; layer < shape.layers; ++layer) {
    const TileFormat format = PromptTileFormat(policy, layer, shape.head_size);
    const int64_t budget = LeavingToKeep(policy, shape.layers, layer, tokens, leaving);
    std::vector<HeadRun> runs(static_cast<size_t>(shape.kv_heads));
    if (budget == leaving || policy.eviction.heads == HeadBudgets::kUniform) {
      const int64_t tiles = RoundToTiles(budget, leaving) / kTileTokens;
      std::fill(runs.begin(), runs.end(), HeadRun{format, tiles, tiles < all_tiles});
    } else {
      int64_t left = (shape.kv_heads * (budget + kTileTokens / 2) + kTileTokens - 1) / kTileTokens;
      for (HeadRun& run : runs) {
        run = {format, std::min(left, all_tiles), true};
        left -= run.tiles;
      }
    }
    bytes[static_cast<size_t>(layer)] = TileSlab::Bytes(leaving, runs);
    std::transform(runs.begin(), runs.end(), (*tiles)[static_cast<size_t>(layer)].begin(),
                   [](const HeadRun& run) { return run.tiles; });
  }
  return bytes;
}

}  // namespace

kvp_estimate EstimateBytes(const ModelShape& shape, const Policy& policy, int64_t prompt_tokens,
                           int64_t generated_tokens, int64_t chunk_tokens, int64_t probe_tokens) {
  const int64_t tail = DenseTail::Bytes(shape, policy);
  const int64_t layers = shape.layers;
  std::vector<std::vector<int64_t>> tiles;
  const std::vector<int64_t> slabs = SlabBytes(shape, policy, prompt_tokens, &tiles);
  const int64_t all_slabs = std::accumulate(slabs.begin(), slabs.end(), int64_t{0});
  const int64_t capacity = prompt_tokens + (policy.NeedsDeferredSegment() ? probe_tokens : 0);
  const int64_t rows =
      prompt_tokens > 0 ? PromptRows::Bytes(shape, PromptNeeds::Of(policy), capacity, prompt_tokens) : 0;

  std::vector<int64_t> generated;  // bytes of one tile's slab in the first layers together
  generated.push_back(0);
  for (int layer = 0; layer < shape.layers; ++layer)
    generated.push_back(
        generated.back() +
        TileSlab::Bytes(GeneratedTileFormat(policy, layer, shape.head_size), shape.kv_heads, 1));
  const int64_t dense = prompt_tokens - policy.SealableTiles(prompt_tokens) * kTileTokens;
  const int64_t packed = PackAhead::PackedLayers(policy, shape.layers, dense);
  const int64_t sealed = tail + all_slabs + generated[static_cast<size_t>(packed)];

  kvp_estimate estimate = {};
  if (policy.NeedsDeferredSegment()) {
    // The source, and what is sealed from it.
    estimate.prefill_peak_bytes = tail + layers * rows + sealed;
  } else if (chunk_tokens <= 0 || chunk_tokens >= prompt_tokens) {
    estimate.prefill_peak_bytes = rows + sealed;
  } else {
    // A layer's rows are freed when it is sealed, and only then a tile may be packed ahead.
    estimate.prefill_peak_bytes = sealed;
    int64_t made = tail;  // of slabs and tiles packed ahead
    for (int64_t layer = 0; layer < layers; ++layer) {
      made += slabs[static_cast<size_t>(layer)];
      estimate.prefill_peak_bytes = std::max(estimate.prefill_peak_bytes, made + (layers - layer) * rows);
      if (layer < packed)
        made += generated[static_cast<size_t>(layer) + 1] - generated[static_cast<size_t>(layer)];
    }
  }

  const int64_t generated_tiles = policy.SealableTiles(dense + generated_tokens);
  const int64_t packed_at_end =
      PackAhead::PackedLayers(policy, shape.layers, dense + generated_tokens - generated_tiles * kTileTokens);
  // The checkpoint at the prompt's end keeps its own tail once the live one is sealed.
  const int64_t tails = generated_tiles > 0 && prompt_tokens > 0 ? 2 : 1;
  // (The slabs of a long answer are joined, which leaves a little less.)
  estimate.resident_bytes = tails * tail + all_slabs + generated_tiles * generated.back() +
                            generated[static_cast<size_t>(packed_at_end)];
  if (policy.eviction.while_decoding) {
    const int64_t scores = PromptScoreBytes(shape, policy, tiles);
    estimate.prefill_peak_bytes += EmptyScoreBytes(shape, policy) + scores;
    estimate.resident_bytes = generated_tokens == 0
                                  ? tail + all_slabs + generated[static_cast<size_t>(packed)] + scores
                                  : tails * tail + (prompt_tokens > 0 ? all_slabs + scores : 0) +
                                        EvictingBytes(shape, policy, prompt_tokens, generated_tokens, tiles);
  }
  return estimate;
}

}  // namespace kvprune
