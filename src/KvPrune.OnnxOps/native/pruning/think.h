#ifndef KVPRUNE_PRUNING_THINK_H_
#define KVPRUNE_PRUNING_THINK_H_

#include <cstdint>

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

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_THINK_H_
