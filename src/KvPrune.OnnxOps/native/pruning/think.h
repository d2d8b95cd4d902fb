#ifndef KVPRUNE_PRUNING_THINK_H_
#define KVPRUNE_PRUNING_THINK_H_

#include <cstdint>

#include "cache/status.h"
#include "pruning/head_rows.h"
#include "pruning/query_attention.h"

namespace kvprune {

// ThinK's query-driven channel scores of one KV head (arXiv 2407.21018, section 3), up to a factor:
//   scores[j] = mean over observed queries and the group's heads of q[j]^2 * mean over pruned tokens of
//   k[j]^2
//
// keys: [key_count, head_size], rotated: the tokens that will really be pruned. A channel with a NaN gets
// infinity, so that it stays visible.
void ThinkKeyScores(const QueryRows& observed, const float* keys, int64_t key_count, int head_size,
                    double* scores);

// The same for V (appendix D): scores[j] = mean over the group's heads of the norm over the observed queries
// of (softmax(Q K^T scale) V)[:, j], up to a factor.
//
// The softmax is over all tokens that a query sees, the products with V are summed over the rows that leave
// the window and are kept only, which are those whose channels go. (The paper sums over all.) A score that is
// no finite number is KVP_INVALID_ARGUMENT.
Status ThinkValueScores(const QueryRows& observed, const HeadRows& rows, const AttentionRule& rule,
                        double* scores);

// The `kept` channels with the largest of scores [head_size], ascending; ties keep the lower channel.
void SelectBestChannels(const double* scores, int head_size, int kept, uint8_t* channels);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_THINK_H_
