#ifndef KVPRUNE_PRUNING_THINK_H_
#define KVPRUNE_PRUNING_THINK_H_

#include <cstdint>

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// ThinK's query-driven channel scores of one KV head (arXiv 2407.21018, section 3):
//   score[j] = mean over observed queries and the group's heads of q[j]^2 * mean over pruned tokens of k[j]^2
// and the `kept` best channels, ascending; ties keep the lower channel.
//
// queries: [query_count, group, head_size] with `query_stride` floats between tokens, rotated.
// keys: [key_count, head_size], rotated: the tokens that will really be pruned.
// A channel with a NaN counts as the best, so that it stays visible.
void SelectThinkChannels(const float* queries, int query_count, int64_t query_stride, int group,
                         const float* keys, int64_t key_count, int head_size, int kept, uint8_t* channels);

// The same for V (appendix D): score[j] = mean over the group's heads of the norm over the observed queries
// of (softmax(Q K^T scale) V)[:, j], and the `kept` best channels, ascending; ties keep the lower one.
//
// keys, values: [tokens, head_size] at the positions from 0 on. The softmax is over all tokens that a query
// sees, the products with V are summed over the first `pruned` ones only, which are those whose channels go.
// (The paper sums over all.) A score that is no finite number is KVP_INVALID_ARGUMENT.
Status SelectThinkValueChannels(const QueryRows& observed, const float* keys, const float* values,
                                int64_t tokens, int64_t pruned, const AttentionRule& rule, int kept,
                                uint8_t* channels);

// The `kept` channels with the largest of scores [head_size], ascending; ties keep the lower channel.
void SelectBestChannels(const double* scores, int head_size, int kept, uint8_t* channels);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_THINK_H_
