#include "cache/estimate.h"

#include <algorithm>

#include "cache/dense_tail.h"
#include "cache/pack_ahead.h"
#include "cache/prompt_rows.h"
#include "cache/tile_slab.h"

namespace kvprune {

kvp_estimate EstimateBytes(const ModelShape& shape, const Policy& policy, int64_t prompt_tokens,
                           int64_t generated_tokens, int64_t chunk_tokens) {
  const int64_t tail = DenseTail::Bytes(shape, policy);
  const int64_t layers = shape.layers;
  const int64_t tiles = policy.SealableTiles(prompt_tokens);
  const int64_t slab =
      tiles > 0 ? TileSlab::Bytes(PromptTileFormat(policy, shape.head_size), shape.kv_heads, tiles) : 0;
  const int64_t rows =
      prompt_tokens > 0 ? PromptRows::Bytes(shape, PromptNeeds::Of(policy), prompt_tokens, prompt_tokens) : 0;

  const int64_t generated_slab =
      TileSlab::Bytes(GeneratedTileFormat(policy, shape.head_size), shape.kv_heads, 1);
  const int64_t dense = prompt_tokens - tiles * kTileTokens;

  kvp_estimate estimate = {};
  const bool whole = chunk_tokens <= 0 || chunk_tokens >= prompt_tokens;
  const int64_t packed = PackAhead::PackedLayers(policy, shape.layers, dense);
  if (whole) {
    estimate.prefill_peak_bytes = tail + rows + layers * slab + packed * generated_slab;
  } else {
    // A layer's rows are freed when it is sealed, and only then a tile may be packed ahead: what is held
    // grows or shrinks evenly up to the last layer that packs one, then evenly to the end.
    const auto held = [&](int64_t sealed) {  // while the next layer is being sealed
      return (layers - sealed) * rows + (sealed + 1) * slab + std::min(sealed, packed) * generated_slab;
    };
    estimate.prefill_peak_bytes =
        tail + std::max({held(0), held(std::min(packed, layers - 1)), held(layers - 1),
                         layers * slab + packed * generated_slab});
  }

  const int64_t generated_tiles = policy.SealableTiles(dense + generated_tokens);
  const int64_t packed_at_end =
      PackAhead::PackedLayers(policy, shape.layers, dense + generated_tokens - generated_tiles * kTileTokens);
  // The checkpoint at the prompt's end keeps its own tail once the live one is sealed.
  const int64_t tails = generated_tiles > 0 && prompt_tokens > 0 ? 2 : 1;
  estimate.resident_bytes =
      tails * tail + layers * slab + (layers * generated_tiles + packed_at_end) * generated_slab;
  return estimate;
}

}  // namespace kvprune
