#include "pruning/channel_weights.h"

#include <cmath>
#include <string>

#include "kernels/tile_format.h"
#include "pruning/finite.h"

namespace kvprune {
namespace {

Status CheckWeights(const float* weights, int head_size, const char* source) {
  const int64_t channel = FindNonFinite(weights, 1, head_size, 1);
  if (channel < 0) return {};
  return {KVP_INVALID_ARGUMENT, "the weight of channel " + std::to_string(channel) + " is " +
                                    std::to_string(weights[channel]) + ": " + source + " are not finite"};
}

template <class Term>
void SumOverQueries(const QueryRows& observed, int head_size, double* sums, const Term& term) {
  for (int64_t i = 0; i < observed.count; ++i)
    for (int64_t g = 0; g < observed.group; ++g) {
      const float* query = observed.rows + i * observed.stride + g * head_size;
      for (int j = 0; j < head_size; ++j) sums[j] += term(static_cast<double>(query[j]));
    }
}

}  // namespace

Status QueryMagnitudeWeights(const QueryRows& observed, int head_size, float* weights) {
  double sums[kMaxHeadSize] = {};
  SumOverQueries(observed, head_size, sums, [](double x) { return std::fabs(x); });
  for (int j = 0; j < head_size; ++j)
    weights[j] = static_cast<float>(sums[j] / static_cast<double>(observed.count));
  return CheckWeights(weights, head_size, "the observed queries");
}

Status QueryRmsWeights(const QueryRows& observed, int head_size, float* weights) {
  double sums[kMaxHeadSize] = {};
  SumOverQueries(observed, head_size, sums, [](double x) { return x * x; });
  for (int j = 0; j < head_size; ++j)
    weights[j] =
        static_cast<float>(std::sqrt(sums[j] / static_cast<double>(observed.count * observed.group)));
  return CheckWeights(weights, head_size, "the observed queries");
}

Status OutputWeights(const float* gram, int head_size, float* weights) {
  for (int j = 0; j < head_size; ++j) weights[j] = std::sqrt(gram[static_cast<int64_t>(j) * head_size + j]);
  return CheckWeights(weights, head_size, "the output weights");
}

}  // namespace kvprune
