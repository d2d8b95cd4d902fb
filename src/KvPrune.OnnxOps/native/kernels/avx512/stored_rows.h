#ifndef KVPRUNE_KERNELS_AVX512_STORED_ROWS_H_
#define KVPRUNE_KERNELS_AVX512_STORED_ROWS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/top_k.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// `head_size` floats, zeros up to kMaxHeadSize; only `channels` (bits, null: all) and these side by side.
inline void LoadRow(const float* from, int head_size, const uint32_t* channels, float* row) {
  for (int i = 0; i < kMaxHeadSize; i += 16) _mm512_store_ps(row + i, _mm512_setzero_ps());
  int width = 0;
  for (int i = 0; i < head_size; i += 16) {
    const __mmask16 present = head_size - i >= 16 ? 0xffff : 0xff;  // head sizes are multiples of 8
    const __m512 values = _mm512_maskz_loadu_ps(present, from + i);
    if (channels == nullptr) {
      _mm512_store_ps(row + i, values);
    } else {
      const auto mask = static_cast<__mmask16>(channels[i / 32] >> (i % 32));
      _mm512_mask_storeu_ps(row + width, SetBits(__builtin_popcount(mask)),
                            _mm512_maskz_compress_ps(mask, values));
      width += __builtin_popcount(mask);
    }
  }
}

// The 64 rows of a section, rounded or quantised, with the elements that a bitmap keeps.
struct StoredRows {
  // Row-major, row_bytes apart; a vector may be stored past the last row's end.
  alignas(64) uint8_t elements[kTileTokens * kMaxHeadSize * 4 + 64];
  // Bit c % 32 of kept[c / 32][token]: the token's channel c is kept.
  alignas(64) uint32_t kept[kMaxHeadSize / 32][kTileTokens];
  int row_bytes;

  // Rows of `width` elements, stored `padded` apart: integers as bytes, but those of dense int4 sections,
  // whose scales are not theirs alone, as floats. Scales per token go straight into the tile.
  void Begin(const TileSection& section, int width, int padded, uint8_t* tile) {
    section_ = &section;
    width_ = width;
    row_bytes = padded * (section.per_token_scales()  ? 1
                          : section.per_step_scales() ? 4
                                                      : ElementBits(section.storage) / 8);
    scales_ = tile + section.scale_offset;
  }

  // `row` is aligned and zero beyond the width. Tokens have to come in order.
  void Add(int token, const float* row) {
    uint32_t kept_bits[kMaxHeadSize / 32];
    uint8_t* out = elements + static_cast<size_t>(token) * row_bytes;
    if (ElementBits(section_->storage) == 16) {
      if (section_->storage == Storage::kFloat16)
        RoundFloat16(row);
      else
        RoundBFloat16(row);
      if (section_->bitmap) Mark16(kept_bits);
      for (int i = 0; i < width_; i += 32) {
        _mm512_storeu_si512(out + 2 * i, _mm512_load_si512(rounded_ + i));
      }
    } else {
      if (section_->bitmap) Mark32(row, kept_bits);
      if (section_->per_token_scales()) {
        Quantise(row, section_->bitmap ? kept_bits : nullptr, token, out);
      } else {
        for (int i = 0; i < width_; i += 16) _mm512_storeu_ps(out + 4 * i, _mm512_load_ps(row + i));
      }
    }
    if (!section_->bitmap) return;
    for (int i = 0; i < (width_ + 31) / 32; ++i) kept[i][token] = kept_bits[i];
  }

 private:
  // Round to nearest even; NaN stays NaN.
  static __m256i BFloat16(__m512 values) {
    const __m512i bits = _mm512_castps_si512(values);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q), bits,
                                   _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
  }

  void RoundBFloat16(const float* row) {
    for (int i = 0; i < width_; i += 32) {
      const __m256i low = BFloat16(_mm512_load_ps(row + i)), high = BFloat16(_mm512_load_ps(row + i + 16));
      _mm512_store_si512(rounded_ + i, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
  }

  void RoundFloat16(const float* row) {
    for (int i = 0; i < width_; i += 16) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(rounded_ + i),
                         _mm512_cvtps_ph(_mm512_load_ps(row + i), _MM_FROUND_TO_NEAREST_INT));
    }
  }

  void Mark16(uint32_t* kept_bits) {
    for (int i = 0; i < width_; i += 32) {
      _mm512_store_si512(high_.values + i,
                         _mm512_and_si512(_mm512_load_si512(rounded_ + i), _mm512_set1_epi16(0x7fff)));
    }
    KeepLargest(high_, nullptr, width_, section_->row_nonzeros, kept_bits);
  }

  void Mark32(const float* row, uint32_t* kept_bits) {
    for (int i = 0; i < width_; i += 16) {
      const __m512i bits =
          _mm512_and_si512(_mm512_castps_si512(_mm512_load_ps(row + i)), _mm512_set1_epi32(0x7fffffff));
      _mm256_store_si256(reinterpret_cast<__m256i*>(high_.values + i),
                         _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(low_.values + i), _mm512_cvtepi32_epi16(bits));
    }
    KeepLargest(high_, &low_, width_, section_->row_nonzeros, kept_bits);
  }

  // The same arithmetic as the scalar kernels: scale = largest / 127 (int4: 7) rounded up to bfloat16 and not
  // subnormal. Int4 gets 8 added, so that none is negative.
  void Quantise(const float* row, const uint32_t* kept_bits, int token, uint8_t* out) {
    __m512i largest = _mm512_setzero_si512();
    for (int i = 0; i < width_; i += 16) {
      const __m512i bits =
          _mm512_and_si512(_mm512_castps_si512(_mm512_load_ps(row + i)), _mm512_set1_epi32(0x7fffffff));
      const auto mask = static_cast<__mmask16>(kept_bits == nullptr ? 0xffff : kept_bits[i / 32] >> (i % 32));
      largest = _mm512_mask_max_epu32(largest, mask, largest, bits);
    }
    const uint32_t largest_bits = _mm512_reduce_max_epu32(largest);
    const bool int4 = section_->storage == Storage::kInt4;
    uint32_t scale_bits = 0;
    if (largest_bits >= 0x7f800000u) {
      scale_bits = largest_bits > 0x7f800000u ? 0x7fc00000u : 0x7f800000u;
    } else if (largest_bits != 0) {
      float exact;
      __builtin_memcpy(&exact, &largest_bits, 4);
      exact /= int4 ? 7.0f : 127.0f;
      __builtin_memcpy(&scale_bits, &exact, 4);
      if (scale_bits < 0x00800000u) scale_bits = 0x00800000u;
      scale_bits = (scale_bits + 0xffffu) & 0xffff0000u;
    }
    const auto stored = static_cast<uint16_t>(scale_bits >> 16);
    __builtin_memcpy(scales_ + 2 * token, &stored, 2);
    const bool usable = scale_bits != 0 && scale_bits < 0x7f800000u;
    const __m512 scale = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(scale_bits)));
    const __m512i shift = _mm512_set1_epi32(int4 ? 8 : 0);
    for (int i = 0; i < width_; i += 16) {
      const __m512i whole =
          usable ? _mm512_cvtps_epi32(_mm512_div_ps(_mm512_load_ps(row + i), scale)) : _mm512_setzero_si512();
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                       _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, shift)));
    }
  }

  const TileSection* section_;
  int width_;
  uint8_t* scales_;
  alignas(64) uint16_t rounded_[kMaxHeadSize];
  Magnitudes high_, low_;
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_STORED_ROWS_H_
