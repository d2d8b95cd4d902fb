#include "pruning/token_budgets.h"

#include <algorithm>
#include <cmath>

#include "kernels/tile_format.h"

namespace kvprune {

int64_t TokensToKeep(int64_t tokens, double sparsity, int64_t budget) {
  const int64_t kept =
      budget > 0 ? budget
                 : std::max<int64_t>(1, std::llround((1.0 - sparsity) * static_cast<double>(tokens)));
  return std::min(tokens, kept);
}

int64_t SealableToKeep(int64_t kept, int64_t tokens, int64_t sealable) {
  return std::clamp<int64_t>(kept - (tokens - sealable), 0, sealable);
}

int64_t RoundToTiles(int64_t kept, int64_t sealable) {
  return std::min(sealable, (kept + kTileTokens / 2) / kTileTokens * kTileTokens);
}

void PyramidBudgets(int layers, int64_t sealable, int64_t uniform, double beta, int64_t* budgets) {
  if (layers < 2 || sealable < 2 * uniform) {
    std::fill_n(budgets, layers, uniform);
    return;
  }
  const double last = static_cast<double>(uniform) / beta;
  const double first = 2.0 * static_cast<double>(uniform) - last;
  for (int layer = 0; layer < layers; ++layer)
    budgets[layer] = std::llround(first - (first - last) * layer / (layers - 1));
}

}  // namespace kvprune
