#ifndef KVPRUNE_PRUNING_ACCUMULATED_ATTENTION_H_
#define KVPRUNE_PRUNING_ACCUMULATED_ATTENTION_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// H2O (arXiv 2306.14048, section 4): tokens that gathered much attention are the heavy hitters. SumAttention
// gathers it, block of queries by block of queries, into one double per token. For a whole prompt that
// multiplies queries and keys once more, after the kernel that attends has multiplied queries, keys and
// values.

// Query tokens at [first_query, first_query + queries) that see the token at `position`.
int64_t Exposure(int64_t position, int64_t first_query, int64_t queries, int64_t window);

// scores[t] = mass[t] / (group * Exposure(t)), the mean attention of those that saw the token; 0 where nobody
// did. Dividing is a deviation from the paper, in which tokens win by being early. `tokens` scores for the
// positions from first_position on; all queries that were accumulated are those from first_query on.
Status AccumulatedScores(const double* mass, int64_t tokens, int64_t first_position, int64_t first_query,
                         int64_t queries, int group, int64_t window, float* scores);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_ACCUMULATED_ATTENTION_H_
