#include "pruning/quadratic_forms.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace kvprune {

void QuadraticForms(const float* rows, int64_t stride, int64_t count, int width, const float* matrix,
                    double* forms) {
  constexpr int64_t kPanelRows = 64;
  const ScoreKernels& kernels = *Kernels().scores;
  std::fill_n(forms, count, 0.0);
  float columns[kMaxHeadSize * kPanelLanes];
  float panel[kPanelRows * kPanelLanes];
  for (int first = 0; first < width; first += kPanelLanes) {
    const int lanes = std::min(kPanelLanes, width - first);
    std::fill_n(columns, width * kPanelLanes, 0.0f);
    for (int i = 0; i < width; ++i)
      std::copy_n(matrix + static_cast<int64_t>(i) * width + first, lanes, columns + i * kPanelLanes);
    for (int64_t token = 0; token < count; token += kPanelRows) {
      const int tokens = static_cast<int>(std::min(kPanelRows, count - token));
      kernels.multiply(rows + token * stride, stride, tokens, width, columns, kPanelLanes, panel);
      for (int t = 0; t < tokens; ++t) {
        const float* row = rows + (token + t) * stride + first;
        double sum = 0;
        for (int lane = 0; lane < lanes; ++lane)
          sum += static_cast<double>(panel[t * kPanelLanes + lane]) * static_cast<double>(row[lane]);
        forms[token + t] += sum;
      }
    }
  }
}

}  // namespace kvprune
