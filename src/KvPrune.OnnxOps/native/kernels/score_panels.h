#ifndef KVPRUNE_KERNELS_SCORE_PANELS_H_
#define KVPRUNE_KERNELS_SCORE_PANELS_H_

#include <cstdint>
#include <cstring>

#include "kernels/score_kernels.h"

// One body of the score kernels, in the compiler's vectors of KVPRUNE_VECTOR_BYTES. Every instruction set's
// source file defines that, includes this and is compiled with its own flags, hence the unnamed namespace.
namespace kvprune {
namespace {

struct ScorePanels {
  typedef float Float __attribute__((vector_size(KVPRUNE_VECTOR_BYTES)));
  typedef int32_t Int __attribute__((vector_size(KVPRUNE_VECTOR_BYTES)));
  typedef uint32_t Unsigned __attribute__((vector_size(KVPRUNE_VECTOR_BYTES)));
  typedef float Four __attribute__((vector_size(16)));
  static constexpr int kLanes = KVPRUNE_VECTOR_BYTES / static_cast<int>(sizeof(float));
  // Two vectors wide: a row's factor is loaded once for both.
  static constexpr int kWidth = 2 * kLanes;
  static_assert(kPanelLanes % kWidth == 0);
  // Accumulators take 24 of 32 registers, or 12 of 16.
  static constexpr int kRows = KVPRUNE_VECTOR_BYTES == 64 ? 12 : 6;

  static Float Load(const float* from) {
    Float vector;
    std::memcpy(&vector, from, sizeof(vector));
    return vector;
  }
  static void Store(float* to, Float vector) { std::memcpy(to, &vector, sizeof(vector)); }
  static Float All(float value) { return value - Float{}; }

  template <int kBlock>
  static void MultiplyRows(const float* a, int64_t a_stride, int depth, const float* b, int64_t b_stride,
                           float* panel) {
    for (int lane = 0; lane < kPanelLanes; lane += kWidth) {
      Float sums[kBlock][2] = {};
      for (int i = 0; i < depth; ++i) {
        const Float low = Load(b + i * b_stride + lane);
        const Float high = Load(b + i * b_stride + lane + kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kBlock; ++r) {
          const Float factor = All(a[r * a_stride + i]);
          sums[r][0] += factor * low;
          sums[r][1] += factor * high;
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < kBlock; ++r) {
        Store(panel + r * kPanelLanes + lane, sums[r][0]);
        Store(panel + r * kPanelLanes + lane + kLanes, sums[r][1]);
      }
    }
  }

  static void Multiply(const float* a, int64_t a_stride, int rows, int depth, const float* b,
                       int64_t b_stride, float* panel) {
    int row = 0;
    for (; row + kRows <= rows; row += kRows)
      MultiplyRows<kRows>(a + row * a_stride, a_stride, depth, b, b_stride, panel + row * kPanelLanes);
    for (; row + 4 <= rows; row += 4)
      MultiplyRows<4>(a + row * a_stride, a_stride, depth, b, b_stride, panel + row * kPanelLanes);
    for (; row < rows; ++row)
      MultiplyRows<1>(a + row * a_stride, a_stride, depth, b, b_stride, panel + row * kPanelLanes);
  }

  // e^x for x <= 0; NaN stays NaN, and below 2^-126 it is 0. The polynomial is the one of the attention
  // kernels (relative error 8e-8).
  static Float Exp(Float x) {
    const Float exponent = x * 1.44269504f;
    const Float bounded = exponent < -126.0f ? All(-126.0f) : exponent;
    // Adding 1.5 * 2^23 rounds to the nearest whole number.
    const Float whole = (bounded + 12582912.0f) - 12582912.0f;
    const Float fraction = bounded - whole;
    Float power = All(1.3276472e-3f);
    power = power * fraction + 9.67554133e-3f;
    power = power * fraction + 5.55071327e-2f;
    power = power * fraction + 2.40221197e-1f;
    power = power * fraction + 6.93146967e-1f;
    power = power * fraction + 1.00000007f;
    const auto biased = (Unsigned) __builtin_convertvector(whole, Int) + 127u;
    const auto scaled = power * (Float)(biased << 23);
    return exponent < -126.0f ? Float{} : scaled;
  }

  static Float Softcap(Float x, float cap) {
    const Float magnitude = x < 0.0f ? -x : x;
    const Float power = Exp(magnitude * (-2.0f / cap));
    const Float capped = (1.0f - power) * cap / (1.0f + power);
    return x < 0.0f ? -capped : capped;
  }

  static void Exponentials(float* panel, int rows, const int32_t* begin, const int32_t* end, float softcap,
                           float* max, float* sum) {
    for (int lane = 0; lane < kPanelLanes; lane += kLanes) {
      Float top = Load(max + lane);
      Int first{};
      Int last{};
      if (begin != nullptr) {
        std::memcpy(&first, begin + lane, sizeof(first));
        std::memcpy(&last, end + lane, sizeof(last));
      }
      for (int row = 0; row < rows; ++row) {
        float* at = panel + row * kPanelLanes + lane;
        Float logit = Load(at);
        if (softcap > 0) logit = Softcap(logit, softcap);
        if (begin != nullptr) {
          const Int index = row - Int{};
          logit = ((index >= first) & (index < last)) ? logit : All(-__builtin_inff());
        }
        top = logit > top ? logit : top;
        Store(at, logit);
      }
      Store(max + lane, top);
      // A lane that has seen nothing has no largest logit to be relative to.
      const Float shift = top < -3.0e38f ? All(-3.0e38f) : top;
      Float total{};
      for (int row = 0; row < rows; ++row) {
        float* at = panel + row * kPanelLanes + lane;
        const Float weight = Exp(Load(at) - shift);
        total += weight;
        Store(at, weight);
      }
      Store(sum + lane, total);
    }
  }

  static void AddLanes(const float* panel, int rows, const float* factors, double* sums) {
    Float by[kPanelLanes / kLanes];
    std::memcpy(by, factors, sizeof(by));
    for (int row = 0; row < rows; ++row) {
      Float total{};
#pragma GCC unroll 8
      for (int i = 0; i < kPanelLanes / kLanes; ++i)
        total += Load(panel + row * kPanelLanes + i * kLanes) * by[i];
      sums[row] += static_cast<double>(SumAcross(total));
    }
  }

  static void MaxLanes(const float* panel, int rows, const float* factors, float* largest) {
    for (int row = 0; row < rows; ++row) {
      Float most = All(largest[row]);
      for (int i = 0; i < kPanelLanes; i += kLanes) {
        const Float weight = Load(panel + row * kPanelLanes + i) * Load(factors + i);
        const Int stays = (weight <= most) | (most != most);
        most = stays ? most : weight;
      }
      float lanes[kLanes];
      Store(lanes, most);
      float result = lanes[0];
      for (const float lane : lanes) result = lane <= result || result != result ? result : lane;
      largest[row] = result;
    }
  }

  static float SumAcross(Float x) {
    Four parts[kLanes / 4];
    std::memcpy(parts, &x, sizeof(x));
    for (int i = 1; i < kLanes / 4; ++i) parts[0] += parts[i];
    return (parts[0][0] + parts[0][1]) + (parts[0][2] + parts[0][3]);
  }

  static constexpr ScoreKernels Table() {
    return {Multiply, Exponentials, AddLanes, MaxLanes};
  }
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_SCORE_PANELS_H_
