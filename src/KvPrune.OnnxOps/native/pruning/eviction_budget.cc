#include "pruning/eviction_budget.h"

#include <vector>

#include "pruning/token_budgets.h"

namespace kvprune {

int64_t LeavingToKeep(const Policy& policy, int layers, int layer, int64_t tokens, int64_t leaving) {
  const Eviction& eviction = policy.eviction;
  if (!eviction.active()) return leaving;
  const int64_t kept = SealableToKeep(
      TokensToKeep(tokens, static_cast<double>(policy.ForLayer(layer).tokens), eviction.token_budget), tokens,
      leaving);
  if (eviction.pyramid_slope == 0) return kept;
  std::vector<int64_t> budgets(static_cast<size_t>(layers));
  PyramidBudgets(layers, leaving, kept, static_cast<double>(eviction.pyramid_slope), budgets.data());
  return budgets[static_cast<size_t>(layer)];
}

}  // namespace kvprune
