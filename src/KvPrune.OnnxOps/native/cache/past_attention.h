#ifndef KVPRUNE_CACHE_PAST_ATTENTION_H_
#define KVPRUNE_CACHE_PAST_ATTENTION_H_

#include <cstdint>

#include "cache/slab_list.h"
#include "kernels/kernels.h"
#include "pruning/query_attention.h"

namespace kvprune {

// The attention of queries to what was sealed before their segment. Query rows are those of all heads of the
// group, token after token.

// The scaled rows [first, first + count) of the queries' count * group rows: [count, head_size].
void ScaleQueries(const QueryRows& queries, const AttentionRule& rule, int64_t first, int64_t count,
                  float* scaled);

// Adds the sealed rows that they see to `state`: `count` scaled rows from `first` on, at most kMaxQueryRows.
void AttendPast(const SlabList& past, int kv_head, const QueryRows& queries, const AttentionRule& rule,
                int64_t first, int count, const float* scaled, AttentionState* state);

// QueryRows::past_logits [count, group] of the sealed rows.
void PastLogits(const SlabList& past, int kv_head, const QueryRows& queries, const AttentionRule& rule,
                float* logits);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PAST_ATTENTION_H_
