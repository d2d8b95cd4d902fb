#ifndef KVPRUNE_KERNELS_AVX2_VECTOR_MATH_H_
#define KVPRUNE_KERNELS_AVX2_VECTOR_MATH_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/tile_format.h"

// Unnamed namespaces throughout this folder's headers: every source file gets its own copies, compiled with
// its own instruction set.
namespace kvprune {
namespace {

inline __m256i Load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

inline __m128i LoadHalf(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

inline void Store(void* to, __m256i vector) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), vector);
}

inline void StoreHalf(void* to, __m128i vector) {
  _mm_storeu_si128(static_cast<__m128i*>(to), vector);
}

// A load that stays one: gcc folds loads into every instruction that uses them, and so repeats them per query
// row.
inline __m256i LoadOnce(const void* from) {
  __m256i vector = Load(from);
  __asm__("" : "+x"(vector));
  return vector;
}

// The lower 8 bytes; zeros above.
inline __m128i LoadQuarter(const void* from) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(from));
}

// 8 bfloat16 values as floats.
inline __m256 WidenBFloat16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

inline __m256 WidenBFloat16(const void* from) {
  return WidenBFloat16(LoadHalf(from));
}

inline __m256 Abs(__m256 x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

inline __m256 Negate(__m256 x) {
  return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

// All 8 lanes become the sum, or the maximum, of the 8.
inline __m256 SumAcross(__m256 x) {
  x = _mm256_add_ps(x, _mm256_permute2f128_ps(x, x, 1));
  x = _mm256_add_ps(x, _mm256_shuffle_ps(x, x, 0x4e));
  return _mm256_add_ps(x, _mm256_shuffle_ps(x, x, 0xb1));
}

inline __m256 MaxAcross(__m256 x) {
  x = _mm256_max_ps(x, _mm256_permute2f128_ps(x, x, 1));
  x = _mm256_max_ps(x, _mm256_shuffle_ps(x, x, 0x4e));
  return _mm256_max_ps(x, _mm256_shuffle_ps(x, x, 0xb1));
}

// Of unsigned numbers. Non-negative floats order like their bits and NaN above all, so this maximum of float
// bits cannot lose one.
inline uint32_t MaxBitsAcross(__m256i x) {
  x = _mm256_max_epu32(x, _mm256_permute2x128_si256(x, x, 1));
  x = _mm256_max_epu32(x, _mm256_shuffle_epi32(x, 0x4e));
  x = _mm256_max_epu32(x, _mm256_shuffle_epi32(x, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm256_castsi256_si128(x)));
}

// e^x for x <= 0; NaN stays NaN. Range reduction by powers of two and the minimax polynomial of degree 5 for
// 2^f on [-1/2, 1/2] (relative error 8e-8, to which rounding the exponent adds about |x| 6e-8).
inline __m256 Exp(__m256 x) {
  const __m256 log2_e = _mm256_set1_ps(1.44269504f);
  // In this operand order max returns x when x is NaN. The exponent -127 has the bits of zero.
  const __m256 exponent = _mm256_max_ps(_mm256_set1_ps(-127.0f), _mm256_mul_ps(x, log2_e));
  const __m256 whole = _mm256_round_ps(exponent, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 fraction = _mm256_sub_ps(exponent, whole);
  __m256 power = _mm256_set1_ps(1.3276472e-3f);
  power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(9.67554133e-3f));
  power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(5.55071327e-2f));
  power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(2.40221197e-1f));
  power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(6.93146967e-1f));
  power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(1.00000007f));
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_mul_ps(power, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
}

// cap tanh(x / cap) for caps of at least 1e-30; NaN stays NaN. For y = |x| / cap from 1/4 on it is
// (1 - e^-2y) / (1 + e^-2y); below, where that difference would cancel, the series of tanh up to y^9.
inline __m256 Softcap(__m256 x, float cap) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 y = _mm256_mul_ps(Abs(x), _mm256_set1_ps(1.0f / cap));
  const __m256 square = _mm256_mul_ps(y, y);
  __m256 series = _mm256_set1_ps(62.0f / 2835);
  series = _mm256_fmadd_ps(series, square, _mm256_set1_ps(-17.0f / 315));
  series = _mm256_fmadd_ps(series, square, _mm256_set1_ps(2.0f / 15));
  series = _mm256_fmadd_ps(series, square, _mm256_set1_ps(-1.0f / 3));
  series = _mm256_mul_ps(_mm256_fmadd_ps(series, square, one), Abs(x));
  const __m256 power = Exp(_mm256_mul_ps(y, _mm256_set1_ps(-2.0f)));
  const __m256 capped =
      _mm256_div_ps(_mm256_mul_ps(_mm256_sub_ps(one, power), _mm256_set1_ps(cap)), _mm256_add_ps(one, power));
  const __m256 small = _mm256_cmp_ps(y, _mm256_set1_ps(0.25f), _CMP_LT_OQ);
  const __m256 magnitude = _mm256_blendv_ps(capped, series, small);
  return _mm256_or_ps(magnitude, _mm256_and_ps(x, _mm256_set1_ps(-0.0f)));
}

inline int Min(int a, int b) {
  return a < b ? a : b;
}

inline int64_t Min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

inline int64_t Max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_VECTOR_MATH_H_
