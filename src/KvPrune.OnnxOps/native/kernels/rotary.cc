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

}  // namespace kvprune
