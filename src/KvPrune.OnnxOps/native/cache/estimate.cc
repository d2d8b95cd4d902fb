#include "cache/estimate.h"

#include <algorithm>

#include "cache/dense_tail.h"
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
  const int64_t rows = prompt_tokens > 0 ? PromptRows::Bytes(shape, policy, prompt_tokens, prompt_tokens) : 0;

  kvp_estimate estimate = {};
  const bool whole = chunk_tokens <= 0 || chunk_tokens >= prompt_tokens;
  // A chunked prompt frees each layer's rows after sealing it: the peak is at the first or at the last layer.
  estimate.prefill_peak_bytes =
      tail + (whole ? rows + layers * slab : std::max(layers * rows + slab, rows + layers * slab));

  const int64_t dense = prompt_tokens - tiles * kTileTokens;
  const int64_t generated_tiles = policy.SealableTiles(dense + generated_tokens);
  const int64_t generated_slab =
      TileSlab::Bytes(GeneratedTileFormat(policy, shape.head_size), shape.kv_heads, 1);
  // The checkpoint at the prompt's end keeps its own tail once the live one is sealed.
  const int64_t tails = generated_tiles > 0 && prompt_tokens > 0 ? 2 : 1;
  estimate.resident_bytes = tails * tail + layers * (slab + generated_tiles * generated_slab);
  return estimate;
}

}  // namespace kvprune
