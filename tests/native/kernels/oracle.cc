#include "kernels/oracle.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvprune::oracle {
namespace {

// Distance of the floating-point numbers around `value` that have `bits` significant bits, subnormals being
// multiples of 2^smallest.
double Spacing(double value, int bits, int smallest) {
  int exponent;
  std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent - bits, smallest));
}

double BFloat16Spacing(double value) {
  return Spacing(value, 8, -133);
}

double RoundUpToBFloat16(double value) {
  return std::ceil(value / BFloat16Spacing(value)) * BFloat16Spacing(value);
}

double RoundDownToBFloat16(double value) {
  return std::floor(value / BFloat16Spacing(value)) * BFloat16Spacing(value);
}

double Round(double value, double spacing, double largest) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double rounded = std::nearbyint(value / spacing) * spacing;
  return std::abs(rounded) > largest ? std::copysign(INFINITY, value) : rounded;
}

// KIVI's asymmetric rounding of one group to 16 evenly spaced values, of which the first and the distance are
// bfloat16.
void RoundGroup(const std::vector<double*>& group) {
  double least = INFINITY, largest = -INFINITY;
  for (const double* value : group) {
    least = std::min(least, *value);
    largest = std::max(largest, *value);
  }
  const double zero = least == 0 ? 0 : RoundDownToBFloat16(least);
  const auto range = static_cast<float>(largest - zero);
  const double scale = range == 0 ? 0 : RoundUpToBFloat16(range / 15.0f);
  for (double* value : group) {
    const float from_zero = static_cast<float>(*value - zero);
    *value = zero + (scale == 0 ? 0 : std::nearbyint(from_zero / static_cast<float>(scale)) * scale);
  }
}

std::vector<double> StoredRow(const std::vector<float>& row, const SectionRules& rules,
                              const std::vector<uint8_t>* mask) {
  std::vector<double> stored(row.begin(), row.end());
  if (rules.storage == Storage::kBFloat16)
    std::transform(stored.begin(), stored.end(), stored.begin(), RoundToBFloat16);
  if (rules.storage == Storage::kFloat16)
    std::transform(stored.begin(), stored.end(), stored.begin(), RoundToFloat16);
  std::vector<int> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return std::abs(stored[a]) > std::abs(stored[b]); });
  if (mask == nullptr)
    for (size_t i = rules.nonzeros; i < order.size(); ++i) stored[order[i]] = 0;
  for (size_t i = 0; mask != nullptr && i < row.size(); ++i)
    if ((*mask)[i] == 0) stored[i] = 0;

  const bool bitmap = mask != nullptr || static_cast<size_t>(rules.nonzeros) < row.size();
  const bool int4_bitmap = rules.storage == Storage::kInt4 && bitmap;
  if (rules.storage == Storage::kInt8 || int4_bitmap) {
    double largest = 0;
    for (double value : stored) largest = std::max(largest, std::abs(value));
    if (largest == 0) return stored;
    const double scale = RoundUpToBFloat16(static_cast<float>(largest) / (int4_bitmap ? 7.0f : 127.0f));
    for (double& value : stored) {
      value = std::nearbyint(static_cast<float>(value) / static_cast<float>(scale)) * scale;
    }
  }
  return stored;
}

}  // namespace

double RoundToBFloat16(double value) {
  return Round(value, BFloat16Spacing(value), std::ldexp(255.0, 120));
}

double RoundToFloat16(double value) {
  return Round(value, Spacing(value, 11, -24), 65504);
}

std::vector<std::vector<double>> StoredTile(const std::vector<std::vector<float>>& rows,
                                            const SectionRules& rules, const Mask* mask) {
  std::vector<std::vector<double>> stored;
  for (size_t token = 0; token < rows.size(); ++token)
    stored.push_back(StoredRow(rows[token], rules, mask != nullptr ? &(*mask)[token] : nullptr));
  const size_t width = rows[0].size();
  const bool bitmap = mask != nullptr || static_cast<size_t>(rules.nonzeros) < width;
  if (rules.storage != Storage::kInt4 || bitmap) return stored;
  if (rules.keys) {
    for (size_t channel = 0; channel < width; ++channel) {
      std::vector<double*> group;
      for (auto& row : stored) group.push_back(&row[channel]);
      RoundGroup(group);
    }
    return stored;
  }
  for (auto& row : stored) {
    for (size_t first = 0; first < width; first += 64) {
      std::vector<double*> group;
      for (size_t channel = first; channel < std::min(width, first + 64); ++channel)
        group.push_back(&row[channel]);
      RoundGroup(group);
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
