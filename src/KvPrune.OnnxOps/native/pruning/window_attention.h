#ifndef KVPRUNE_PRUNING_WINDOW_ATTENTION_H_
#define KVPRUNE_PRUNING_WINDOW_ATTENTION_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// SnapKV (arXiv 2404.14469, section 4) before its pooling:
//
//   scores[t] = mean over the group of the sum over the observed queries of their attention to t
//
// The softmax is over all keys that a query sees (causal, sliding window), the newest ones included. The same
// sums weigh the tokens in MUSTAFAR's output-aware rule for V (arXiv 2505.22913, section 2).
// `keys` are a head's whole past; `mass` is working space of keys.count doubles, `scratch` that of
// AttentionScratchFloats(keys.count, 1, head_size). Fewer queries than the window: those there are.
Status WindowAttention(const QueryRows& observed, const TokenRows& keys, const AttentionRule& rule,
                       float* scratch, double* mass, float* scores);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_WINDOW_ATTENTION_H_
