#ifndef KVPRUNE_PRUNING_CHANNEL_WEIGHTS_H_
#define KVPRUNE_PRUNING_CHANNEL_WEIGHTS_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// Weights [head_size] of a head's channels for PerTokenMask. There is at least one query.

// MUSTAFAR's output-aware rule for K (arXiv 2505.22913, section 2): weights[j] = sum over the group of the
// mean over the observed queries of |q_j|.
Status QueryMagnitudeWeights(const QueryRows& observed, int head_size, float* weights);

// weights[j] = root of the mean over the group and the observed queries of q_j^2: the factor of a query-key
// product that ThinK's channel score holds (arXiv 2407.21018, section 3), for single elements.
Status QueryRmsWeights(const QueryRows& observed, int head_size, float* weights);

// weights[j] = sqrt(G_jj), the norm of W_O's column for V's channel j over the group's heads, from the matrix
// that OutputNorms takes.
Status OutputWeights(const float* gram, int head_size, float* weights);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_CHANNEL_WEIGHTS_H_
