#ifndef KVPRUNE_PRUNING_KEPT_TOKENS_H_
#define KVPRUNE_PRUNING_KEPT_TOKENS_H_

#include <cstdint>

#include "cache/status.h"

namespace kvprune {

// Scores of StreamingLLM (arXiv 2309.17453): the later, the better. Exact up to 2^24 tokens.
void RecencyScores(int64_t tokens, float* scores);

// The `kept` best of `tokens` tokens, ascending; ties: the earlier one. The first `sinks` tokens rank above
// all others. `order` is working space of `tokens` entries.
Status SelectTokens(const float* scores, int64_t tokens, int64_t sinks, int64_t kept, uint64_t* order,
                    int32_t* selected);

// CriticalKV (arXiv 2502.03805, section 4): half of the kept tokens (rounded down) by score, the others by
// score * norm, with norms[t] = ||W_O v_t||. The reference implementation adds 1e-4 to the score in the
// second stage; scores here have different units per method, so nothing is added.
Status SelectTokensInTwoStages(const float* scores, const float* norms, int64_t tokens, int64_t sinks,
                               int64_t kept, uint64_t* order, int32_t* selected);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_KEPT_TOKENS_H_
