#ifndef KVPRUNE_PRUNING_QUERY_ATTENTION_H_
#define KVPRUNE_PRUNING_QUERY_ATTENTION_H_

#include <cstdint>
#include <span>

namespace kvprune {

// The queries of one KV head's group: [count, group, head_size] rotated floats, `stride` of them from token
// to token. Query i is at positions[i], or at first_position + i where `positions` is null. Rows that are
// nowhere else can join the softmax through `past`: the logarithm of the sum of e^logit over them, for every
// query [count, group], `past_stride` from token to token; minus infinity for none, null for none at all.
struct QueryRows {
  const float* rows;
  int64_t stride;
  int64_t count;
  int group;
  int64_t first_position;
  const int64_t* positions = nullptr;
  const float* past = nullptr;
  int64_t past_stride = 0;

  int64_t Position(int64_t index) const {
    return positions != nullptr ? positions[index] : first_position + index;
  }
};

// Rows of one KV head at consecutive positions: [count, head_size] floats, `stride` of them from row to row.
// Keys are rotated.
struct TokenRows {
  const float* rows;
  int64_t stride;
  int64_t count;
  int64_t first_position;
};

// How a layer attends.
struct AttentionRule {
  int head_size;
  float scale;
  float softcap = 0;             // 0: none
  int64_t window = 0;            // the newest tokens that a query sees, its own among them; 0: all
  const float* sinks = nullptr;  // [group] logits that join every softmax; null: none

  // The oldest position that a query sees.
  int64_t FirstSeen(int64_t position) const {
    return window > 0 && position >= window ? position + 1 - window : 0;
  }
};

// Floats of scratch that the two functions below need for `tokens` keys in `spans` spans. A caller with
// several threads gives each its own.
int64_t AttentionScratchFloats(int64_t tokens, int64_t spans, int head_size);

// Softmax attention of every query to the keys that it sees: those of `spans` at its own and at earlier
// positions within the sliding window. Token t (counted through all spans) gets
//
//   SumAttention: mass[t] += sum over the queries and the group's heads of the attention to t
//   MaxAttention: most[t]  = the largest of itself and the attention of any query and head to t
//
// Logits are float and computed once: half of what attention itself computes, which multiplies with V too.
// NaN and infinities in queries or keys end as NaN in the result, never as a number.
void SumAttention(const QueryRows& queries, std::span<const TokenRows> spans, const AttentionRule& rule,
                  float* scratch, double* mass);
void MaxAttention(const QueryRows& queries, std::span<const TokenRows> spans, const AttentionRule& rule,
                  float* scratch, float* most);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_QUERY_ATTENTION_H_
