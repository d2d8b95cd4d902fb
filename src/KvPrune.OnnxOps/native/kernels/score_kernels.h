#ifndef KVPRUNE_KERNELS_SCORE_KERNELS_H_
#define KVPRUNE_KERNELS_SCORE_KERNELS_H_

#include <cstdint>

namespace kvprune {

// Lanes of a panel [rows, kPanelLanes]: of scores, a lane is a query row and a row is a token, so that keys
// are read as they lie and neither maxima nor sums of a softmax go across lanes.
inline constexpr int kPanelLanes = 32;

// What the scores of tokens and channels spend their time in, for one instruction set. Nothing has to be
// aligned, nothing allocates or fails.
struct ScoreKernels {
  // panel[r][lane] = sum over i < depth of a[r * a_stride + i] * b[i * b_stride + lane].
  void (*multiply)(const float* a, int64_t a_stride, int rows, int depth, const float* b, int64_t b_stride,
                   float* panel);

  // Turns logits into e^(logit - max) in place, `max` being raised to the largest logit so far, and writes
  // the sum per lane of these rows. Lane l sees the rows [begin[l], end[l]), all where `begin` is null; what
  // it does not see becomes 0. Softcap as in KernelTable, to 1e-6 of the cap. NaN and +infinity end as NaN in
  // `sum`.
  void (*exponentials)(float* panel, int rows, const int32_t* begin, const int32_t* end, float softcap,
                       float* max, float* sum);

  // sums[r] += sum over lanes of panel[r][lane] * factors[lane].
  void (*add_lanes)(const float* panel, int rows, const float* factors, double* sums);
  // largest[r] becomes the largest of itself and panel[r][lane] * factors[lane]; NaN wins.
  void (*max_lanes)(const float* panel, int rows, const float* factors, float* largest);
};

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_SCORE_KERNELS_H_
