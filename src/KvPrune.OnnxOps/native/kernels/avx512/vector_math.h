#ifndef KVPRUNE_KERNELS_AVX512_VECTOR_MATH_H_
#define KVPRUNE_KERNELS_AVX512_VECTOR_MATH_H_

#include <immintrin.h>

#include <cstdint>

// Unnamed namespaces throughout this folder's headers: every source file gets its own copies, compiled with
// its own instruction set.
namespace kvprune {
namespace {

// e^x for x <= 0; NaN stays NaN. Range reduction by powers of two and the minimax polynomial of degree 5 for
// 2^f on [-1/2, 1/2] (relative error 8e-8, to which rounding the exponent adds about |x| 6e-8).
inline __m512 Exp(__m512 x) {
  const __m512 log2_e = _mm512_set1_ps(1.44269504f);
  // In this operand order max returns x when x is NaN. Below -160 scalef gives 0.
  const __m512 exponent = _mm512_max_ps(_mm512_set1_ps(-160.0f), _mm512_mul_ps(x, log2_e));
  const __m512 whole = _mm512_roundscale_ps(exponent, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 fraction = _mm512_sub_ps(exponent, whole);
  __m512 power = _mm512_set1_ps(1.3276472e-3f);
  power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(9.67554133e-3f));
  power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(5.55071327e-2f));
  power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(2.40221197e-1f));
  power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(6.93146967e-1f));
  power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(1.00000007f));
  return _mm512_scalef_ps(power, whole);
}

// cap tanh(x / cap) for caps of at least 1e-30; NaN stays NaN. For y = |x| / cap from 1/4 on it is
// (1 - e^-2y) / (1 + e^-2y); below, where that difference would cancel, the series of tanh up to y^9. Either
// way the relative error is below 5e-7.
inline __m512 Softcap(__m512 x, float cap) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 y = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(1.0f / cap));
  const __m512 square = _mm512_mul_ps(y, y);
  __m512 series = _mm512_set1_ps(62.0f / 2835);
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(-17.0f / 315));
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2.0f / 15));
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(-1.0f / 3));
  series = _mm512_mul_ps(_mm512_fmadd_ps(series, square, one), _mm512_abs_ps(x));
  const __m512 power = Exp(_mm512_mul_ps(y, _mm512_set1_ps(-2.0f)));
  const __m512 capped =
      _mm512_div_ps(_mm512_mul_ps(_mm512_sub_ps(one, power), _mm512_set1_ps(cap)), _mm512_add_ps(one, power));
  const __mmask16 small = _mm512_cmp_ps_mask(y, _mm512_set1_ps(0.25f), _CMP_LT_OQ);
  const __m512 magnitude = _mm512_mask_mov_ps(capped, small, series);
  const __m512i sign = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN));
  return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(magnitude), sign));
}

// A load that stays one: gcc folds loads into every instruction that uses them, and so repeats them per query
// row, or takes the slow memory form of expansions.
inline __m512i LoadOnce(const uint8_t* from) {
  __m512i vector = _mm512_loadu_si512(from);
  __asm__("" : "+v"(vector));
  return vector;
}

// 16 bfloat16 values as floats.
inline __m512 WidenBFloat16(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline __m512 WidenBFloat16(const uint8_t* from) {
  return WidenBFloat16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

inline int Min(int a, int b) {
  return a < b ? a : b;
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_VECTOR_MATH_H_
