#ifndef KVPRUNE_KERNELS_AVX2_STORED_ROWS_H_
#define KVPRUNE_KERNELS_AVX2_STORED_ROWS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/top_k.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// The 64 rows of a section, rounded or quantised (dense int4: still floats), with the elements that a bitmap
// keeps.
struct StoredRows {
  // Row-major, row_bytes apart, zeros up to the next multiple of 32 elements.
  alignas(64) uint8_t elements[kTileTokens * kMaxHeadSize * 4];
  // Bit c % 32 of kept[c / 32][token]: the token's channel c is kept.
  alignas(32) uint32_t kept[kMaskWords][kTileTokens];
  int row_bytes;

  // Rows of `width` elements. Scales per token go straight into the tile.
  void Begin(const TileSection& section, int width, uint8_t* tile) {
    section_ = &section;
    width_ = width;
    padded_ = (width + 31) / 32 * 32;
    row_bytes = IsFloat(section) ? 4 * padded_ : ElementBits(section.storage) == 16 ? 2 * padded_ : padded_;
    scales_ = tile + section.scale_offset;
  }

  // `row` is aligned and zero up to the next multiple of 32 elements.
  void Add(int token, const float* row) {
    uint8_t* out = elements + static_cast<size_t>(token) * row_bytes;
    uint32_t kept_bits[kMaskWords] = {};
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    for (int i = 0; i < padded_; i += 16) {
      __m256i low = Load(row + i), high = Load(row + i + 8);
      if (section_->storage == Storage::kFloat16) {
        const __m256i packed = _mm256_setr_m128i(
            _mm256_cvtps_ph(_mm256_castsi256_ps(low), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
            _mm256_cvtps_ph(_mm256_castsi256_ps(high), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
        Store(out + 2 * i, packed);
        // Compared by the rounded values, whose bits order as a float's upper half does.
        low = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(packed)), 16);
        high = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(packed, 1)), 16);
      } else if (section_->storage == Storage::kBFloat16) {
        low = RoundBFloat16(low);
        high = RoundBFloat16(high);
        const __m256i packed = _mm256_packus_epi32(_mm256_srli_epi32(low, 16), _mm256_srli_epi32(high, 16));
        Store(out + 2 * i, _mm256_permute4x64_epi64(packed, 0xd8));
      } else if (IsFloat(*section_)) {
        Store(out + 4 * i, low);
        Store(out + 4 * i + 32, high);
      }
      Store(magnitudes_ + i, _mm256_and_si256(low, magnitude));
      Store(magnitudes_ + i + 8, _mm256_and_si256(high, magnitude));
    }
    if (section_->per_token_scales()) Quantise(row, token, out);
    if (!section_->bitmap) return;
    KeepLargest(magnitudes_, width_, section_->row_nonzeros, kept_bits);
    for (int i = 0; i < padded_ / 32; ++i) kept[i][token] = kept_bits[i];
  }

 private:
  static bool IsFloat(const TileSection& section) {
    return section.storage == Storage::kFloat32 || section.per_step_scales();
  }

  // Float bits whose lower half is zero: round to nearest even; NaN stays NaN.
  static __m256i RoundBFloat16(__m256i bits) {
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256 value = _mm256_castsi256_ps(bits);
    const __m256i either = _mm256_blendv_epi8(rounded, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)),
                                              _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q)));
    return _mm256_and_si256(either, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  }

  // The same arithmetic as the scalar kernels: scale = largest / 127, int4 bitmaps / 7, rounded up to
  // bfloat16 and not subnormal. A bitmap keeps the largest magnitude if it keeps any.
  void Quantise(const float* row, int token, uint8_t* out) {
    __m256i largest = _mm256_setzero_si256();
    for (int i = 0; i < padded_; i += 8) largest = _mm256_max_epu32(largest, Load(magnitudes_ + i));
    const uint32_t largest_bits = section_->row_nonzeros > 0 ? MaxBitsAcross(largest) : 0;
    uint32_t scale_bits = 0;
    if (largest_bits >= 0x7f800000u) {
      scale_bits = largest_bits > 0x7f800000u ? 0x7fc00000u : 0x7f800000u;
    } else if (largest_bits != 0) {
      float exact;
      __builtin_memcpy(&exact, &largest_bits, 4);
      exact /= section_->storage == Storage::kInt4 ? 7.0f : 127.0f;
      __builtin_memcpy(&scale_bits, &exact, 4);
      if (scale_bits < 0x00800000u) scale_bits = 0x00800000u;
      scale_bits = (scale_bits + 0xffffu) & 0xffff0000u;
    }
    const auto stored = static_cast<uint16_t>(scale_bits >> 16);
    __builtin_memcpy(scales_ + 2 * token, &stored, 2);
    const bool usable = scale_bits != 0 && scale_bits < 0x7f800000u;
    const __m256 scale = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(scale_bits)));
    const __m256i middle = _mm256_set1_epi8(section_->storage == Storage::kInt4 ? 8 : 0);
    for (int i = 0; i < padded_; i += 32) {
      __m256i whole[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        whole[v] = usable ? _mm256_cvtps_epi32(_mm256_div_ps(_mm256_load_ps(row + i + 8 * v), scale))
                          : _mm256_setzero_si256();
      }
      const __m256i bytes =
          _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3]));
      // Four bytes each of vector 0, 1, 2, 3 in both halves: back in order.
      const __m256i ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
      Store(out + i, _mm256_add_epi8(ordered, middle));
    }
  }

  const TileSection* section_;
  int width_;
  int padded_;
  uint8_t* scales_;
  alignas(32) uint32_t magnitudes_[kMaxHeadSize];
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_STORED_ROWS_H_
