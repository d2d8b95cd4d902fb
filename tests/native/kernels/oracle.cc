#include "kernels/oracle.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvprune::oracle {
namespace {

// `value` as a multiple of the spacing of bfloat16 numbers around it (8 significant bits, subnormals below
// 2^-126).
double Spacing(double value) {
  int exponent;
  std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent - 8, -133));
}

double RoundUpToBFloat16(double value) {
  return std::ceil(value / Spacing(value)) * Spacing(value);
}

}  // namespace

double RoundToBFloat16(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double rounded = std::nearbyint(value / Spacing(value)) * Spacing(value);
  const double largest = std::ldexp(255.0, 120);
  return std::abs(rounded) > largest ? std::copysign(INFINITY, value) : rounded;
}

std::vector<double> StoredRow(const std::vector<float>& row, const RowRules& rules) {
  std::vector<double> stored(row.begin(), row.end());
  if (rules.storage == Storage::kBFloat16) {
    std::transform(stored.begin(), stored.end(), stored.begin(), RoundToBFloat16);
  }
  std::vector<int> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return std::abs(stored[a]) > std::abs(stored[b]); });
  for (size_t i = rules.nonzeros; i < order.size(); ++i) stored[order[i]] = 0;

  if (rules.storage == Storage::kInt8) {
    double largest = 0;
    for (double value : stored) largest = std::max(largest, std::abs(value));
    if (largest == 0) return stored;
    const double scale = RoundUpToBFloat16(static_cast<float>(largest) / 127.0f);
    for (double& value : stored) {
      value = std::nearbyint(static_cast<float>(value) / static_cast<float>(scale)) * scale;
    }
  }
  return stored;
}

Output Attend(const std::vector<double>& query, const std::vector<std::vector<double>>& keys,
              const std::vector<std::vector<double>>& values, double softcap, int64_t begin, int64_t end) {
  if (end < 0) end = static_cast<int64_t>(keys.size());
  std::vector<double> logits(end - begin);
  for (int64_t token = begin; token < end; ++token) {
    const double logit = std::inner_product(query.begin(), query.end(), keys[token].begin(), 0.0);
    logits[token - begin] = softcap > 0 ? softcap * std::tanh(logit / softcap) : logit;
  }
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  Output output{std::vector<double>(values[0].size()), 0};
  for (int64_t token = begin; token < end; ++token) {
    const double weight = std::exp(logits[token - begin] - max);
    sum += weight;
    for (size_t channel = 0; channel < output.values.size(); ++channel) {
      output.values[channel] += weight * values[token][channel];
    }
  }
  for (double& value : output.values) value /= sum;
  output.log_sum = max + std::log(sum);
  return output;
}

}  // namespace kvprune::oracle
