#include "pruning/expected_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"
#include "pruning/finite.h"
#include "pruning/quadratic_forms.h"

namespace kvprune {
namespace {

struct PairRotation {
  double cosine;
  double sine;
};

// Applies the averaged rotation to the vector of head_size doubles that are `stride` apart.
void Rotate(const RotaryRows& rotary, const PairRotation* pairs, double* vector, int64_t stride) {
  const int half = rotary.rotary_size / 2;
  for (int pair = 0; pair < half; ++pair) {
    double& real = vector[stride * (rotary.interleaved ? 2 * pair : pair)];
    double& imaginary = vector[stride * (rotary.interleaved ? 2 * pair + 1 : pair + half)];
    const double was = real;
    real = was * pairs[pair].cosine - imaginary * pairs[pair].sine;
    imaginary = imaginary * pairs[pair].cosine + was * pairs[pair].sine;
  }
}

// The mean rotation of the positions ahead; false where there is none.
bool Average(const RotaryRows& rotary, int64_t position, PairRotation* pairs) {
  if (rotary.cosine == nullptr || rotary.positions <= 0) return false;
  const int64_t first = std::min(position, rotary.positions - 1);
  const int64_t end = std::max(first + 1, std::min(position + kExpectedPositions, rotary.positions));
  const int half = rotary.rotary_size / 2;
  std::fill_n(pairs, half, PairRotation{});
  for (int64_t p = first; p < end; ++p)
    for (int pair = 0; pair < half; ++pair) {
      pairs[pair].cosine += static_cast<double>(rotary.cosine[p * half + pair]);
      pairs[pair].sine += static_cast<double>(rotary.sine[p * half + pair]);
    }
  for (int pair = 0; pair < half; ++pair) {
    pairs[pair].cosine /= static_cast<double>(end - first);
    pairs[pair].sine /= static_cast<double>(end - first);
  }
  return true;
}

}  // namespace

void AverageRotation(const RotaryRows& rotary, int64_t position, float* cosine, float* sine) {
  PairRotation pairs[kMaxHeadSize / 2];
  if (!Average(rotary, position, pairs)) return;
  for (int pair = 0; pair < rotary.rotary_size / 2; ++pair) {
    cosine[pair] = static_cast<float>(pairs[pair].cosine);
    sine[pair] = static_cast<float>(pairs[pair].sine);
  }
}

void RotateAhead(const RotaryRows& rotary, int64_t position, int head_size, double* mean,
                 double* covariance) {
  PairRotation pairs[kMaxHeadSize / 2];
  if (!Average(rotary, position, pairs)) return;
  Rotate(rotary, pairs, mean, 1);
  for (int i = 0; i < head_size; ++i) Rotate(rotary, pairs, covariance + i, head_size);
  for (int i = 0; i < head_size; ++i)
    Rotate(rotary, pairs, covariance + static_cast<int64_t>(i) * head_size, 1);
}

void AddExpectedAttention(const TokenRows& keys, int head_size, float scale, const double* mean,
                          const double* covariance, double* logits, double* attention) {
  float matrix[kMaxHeadSize * kMaxHeadSize];
  const double factor = static_cast<double>(scale) * static_cast<double>(scale) / 2;
  for (int64_t i = 0; i < static_cast<int64_t>(head_size) * head_size; ++i)
    matrix[i] = static_cast<float>(covariance[i] * factor);
  QuadraticForms(keys.rows, keys.stride, keys.count, head_size, matrix, logits);
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t t = 0; t < keys.count; ++t) {
    const float* key = keys.rows + t * keys.stride;
    double product = 0;
    for (int j = 0; j < head_size; ++j) product += mean[j] * static_cast<double>(key[j]);
    logits[t] += static_cast<double>(scale) * product;
    max = std::max(max, logits[t]);
  }
  double sum = 0;
  for (int64_t t = 0; t < keys.count; ++t) {
    logits[t] = std::exp(logits[t] - max);
    sum += logits[t];
  }
  for (int64_t t = 0; t < keys.count; ++t) attention[t] += logits[t] / sum;
}

Status ExpectedScores(const double* attention, const float* norms, int64_t tokens, int group, float* scores) {
  for (int64_t t = 0; t < tokens; ++t)
    scores[t] = static_cast<float>(attention[t] / group * static_cast<double>(norms[t]));
  return CheckScores(scores, tokens, "expected attention");
}

}  // namespace kvprune
