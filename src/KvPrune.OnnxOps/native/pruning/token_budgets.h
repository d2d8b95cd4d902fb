#ifndef KVPRUNE_PRUNING_TOKEN_BUDGETS_H_
#define KVPRUNE_PRUNING_TOKEN_BUDGETS_H_

#include <cstdint>

namespace kvprune {

// How many of a prompt's tokens a KV head keeps on average: round((1 - sparsity) * tokens), at least one, or,
// where `budget` is above 0, that many; never more than there are.
int64_t TokensToKeep(int64_t tokens, double sparsity, int64_t budget);

// Of `sealable` tokens (the others stay in the dense tail and count as kept), how many stay for `kept` of
// `tokens` in all.
int64_t SealableToKeep(int64_t kept, int64_t tokens, int64_t sealable);

// To the nearest multiple of kTileTokens, half up, at most `sealable` (itself a multiple), so that no tile is
// partly filled. A head's real count is off its budget by at most half a tile.
int64_t RoundToTiles(int64_t kept, int64_t sealable);

// PyramidKV (arXiv 2406.02069, section 3): lower layers keep more. budgets[l], of tokens that leave the dense
// tail (the paper's observation window, which every layer keeps), falls linearly from 2 * uniform - uniform /
// beta in the first layer to uniform / beta in the last one, so the mean is `uniform` but for rounding.
// Prompts of fewer than 2 * uniform sealable tokens have no room for that and fall back to `uniform`, as do
// models of one layer. beta >= 1; the paper takes 20.
void PyramidBudgets(int layers, int64_t sealable, int64_t uniform, double beta, int64_t* budgets);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_TOKEN_BUDGETS_H_
