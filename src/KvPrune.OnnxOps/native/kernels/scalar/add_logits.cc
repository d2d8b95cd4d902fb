#include <algorithm>
#include <cmath>

#include "kernels/scalar/scalar.h"

namespace kvprune::scalar {

void AddLogits(AttentionState* state, int row, int channels, float softcap, float* logits, int count) {
  if (softcap > 0) {
    for (int token = 0; token < count; ++token) logits[token] = softcap * std::tanh(logits[token] / softcap);
  }
  const float max = *std::max_element(logits, logits + count);
  if (max > state->max[row]) {
    const float weight = std::exp(state->max[row] - max);
    state->max[row] = max;
    state->sum[row] *= weight;
    for (int channel = 0; channel < channels; ++channel) state->accumulator[row][channel] *= weight;
  }
  float sum = 0;
  for (int token = 0; token < count; ++token) {
    logits[token] = std::exp(logits[token] - state->max[row]);
    sum += logits[token];
  }
  state->sum[row] += sum;
}

}  // namespace kvprune::scalar
