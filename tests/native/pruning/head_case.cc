#include "pruning/head_case.h"

#include <algorithm>
#include <cmath>

namespace kvprune {

std::vector<float> RandomFloats(size_t count, std::mt19937* random, float spread) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> floats(count);
  for (float& x : floats) x = normal(*random);
  return floats;
}

std::vector<int64_t> BorderLengths(std::mt19937* random) {
  std::vector<int64_t> lengths{1, 31, 32, 33, 63, 64, 65, 95, 96, 97, 1023, 1024, 1025};
  std::uniform_int_distribution<int64_t> any(2, 700);
  for (int i = 0; i < 3; ++i) lengths.push_back(any(*random));
  return lengths;
}

HeadCase::HeadCase(int64_t token_count, int64_t observed_count, int group_size, int width,
                   std::mt19937* random)
    : tokens(token_count),
      observed(std::min(token_count, observed_count)),
      group(group_size),
      head_size(width),
      query_stride(static_cast<int64_t>(group_size) * width + 5),
      scale(1.0f / std::sqrt(static_cast<float>(width))),
      keys(RandomFloats(static_cast<size_t>(token_count * width), random)),
      values(RandomFloats(static_cast<size_t>(token_count * width), random)),
      queries(RandomFloats(static_cast<size_t>(observed * query_stride), random, 2)) {}

Matrix HeadCase::Attention(double softcap, int64_t window, const std::vector<float>& sinks) const {
  Matrix attention;
  for (int64_t i = 0; i < observed; ++i)
    for (int g = 0; g < group; ++g) {
      const int64_t position = tokens - observed + i;
      std::vector<double> row(static_cast<size_t>(tokens), 0.0);
      double sum = sinks.empty() ? 0.0 : std::exp(static_cast<double>(sinks[static_cast<size_t>(g)]));
      for (int64_t t = 0; t <= position; ++t) {
        if (window > 0 && t + window <= position) continue;
        double logit = 0;
        for (int j = 0; j < head_size; ++j)
          logit += static_cast<double>(Query(i, g)[j]) * static_cast<double>(keys[t * head_size + j]);
        logit *= static_cast<double>(scale);
        if (softcap > 0) logit = softcap * std::tanh(logit / softcap);
        row[static_cast<size_t>(t)] = std::exp(logit);
        sum += row[static_cast<size_t>(t)];
      }
      for (double& weight : row) weight /= sum;
      attention.push_back(row);
    }
  return attention;
}

}  // namespace kvprune
