#include "kernels/kernels.h"

namespace kvprune {

void RotateHalves(float* row, int rotary_size, const float* cosine, const float* sine) {
  const int half = rotary_size / 2;
  for (int channel = 0; channel < half; ++channel) {
    const float real = row[channel];
    const float imaginary = row[channel + half];
    row[channel] = real * cosine[channel] - imaginary * sine[channel];
    row[channel + half] = imaginary * cosine[channel] + real * sine[channel];
  }
}

void RotateInterleaved(float* row, int rotary_size, const float* cosine, const float* sine) {
  for (int pair = 0; pair < rotary_size / 2; ++pair) {
    const float real = row[2 * pair];
    const float imaginary = row[2 * pair + 1];
    row[2 * pair] = real * cosine[pair] - imaginary * sine[pair];
    row[2 * pair + 1] = imaginary * cosine[pair] + real * sine[pair];
  }
}

}  // namespace kvprune
