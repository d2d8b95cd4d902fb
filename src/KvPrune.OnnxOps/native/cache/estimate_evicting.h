#ifndef KVPRUNE_CACHE_ESTIMATE_EVICTING_H_
#define KVPRUNE_CACHE_ESTIMATE_EVICTING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "cache/model_shape.h"
#include "pruning/policy.h"

namespace kvprune {

// The scores that a policy keeps while decoding, in all layers: of a sequence without tokens, and of one
// after a prompt that left `tiles`[layer][head].
int64_t EmptyScoreBytes(const ModelShape& shape, const Policy& policy);
int64_t PromptScoreBytes(const ModelShape& shape, const Policy& policy,
                         const std::vector<std::vector<int64_t>>& tiles);

// The most that a sequence whose policy evicts while decoding adds, while `generated_tokens` are decoded
// after a prompt that left `prompt_tiles`[layer][head], to what its checkpoint at the prompt's end holds:
// dense tails excepted.
int64_t EvictingBytes(const ModelShape& shape, const Policy& policy, int64_t prompt_tokens,
                      int64_t generated_tokens, const std::vector<std::vector<int64_t>>& prompt_tiles);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_ESTIMATE_EVICTING_H_
