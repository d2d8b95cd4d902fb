#ifndef KVPRUNE_PRUNING_POOLED_BUDGETS_H_
#define KVPRUNE_PRUNING_POOLED_BUDGETS_H_

#include <cstdint>
#include <span>

#include "cache/status.h"

namespace kvprune {

// Budgets of heads that compete: scores.size() heads keep `per_head` of their `tokens` tokens on average, and
// each gets as many as it has among the best of all. Over the heads of a layer with floor 0.2 this is AdaKV
// (arXiv 2407.11550, algorithm 1), over those of all layers without a floor KVzip (arXiv 2505.23416, section
// 3), whose scores are comparable between layers.
//
// Every head first keeps the best floor * per_head tokens of its own, and its first `sinks` tokens, which
// rank above all others, if per_head allows; the rest of the budget goes to the best remaining tokens. Ties:
// the earlier token, then the earlier head. kept [scores.size()] adds up to per_head * heads.
Status PooledBudgets(std::span<const float* const> scores, int64_t tokens, int64_t sinks, int64_t per_head,
                     double floor, int64_t* kept);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_POOLED_BUDGETS_H_
