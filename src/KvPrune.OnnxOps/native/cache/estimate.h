#ifndef KVPRUNE_CACHE_ESTIMATE_H_
#define KVPRUNE_CACHE_ESTIMATE_H_

#include "cache/model_shape.h"
#include "pruning/policy.h"

namespace kvprune {

// The bytes that a Sequence will allocate, by the same arithmetic: one prompt segment read in chunks (0:
// whole), then decode steps. With head budgets that follow the scores it is the most that they can be. A
// policy that needs a deferred segment is estimated with one, with rows for probe steps of `probe_tokens`;
// the source is gone at the end.
kvp_estimate EstimateBytes(const ModelShape& shape, const Policy& policy, int64_t prompt_tokens,
                           int64_t generated_tokens, int64_t chunk_tokens, int64_t probe_tokens = 0);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_ESTIMATE_H_
