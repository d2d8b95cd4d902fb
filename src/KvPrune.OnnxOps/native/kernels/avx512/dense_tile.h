#ifndef KVPRUNE_KERNELS_AVX512_DENSE_TILE_H_
#define KVPRUNE_KERNELS_AVX512_DENSE_TILE_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/tile_format.h"

// Up to 64 row-major rows rearranged as the vectors of a dense section; missing rows become zeros.
namespace kvprune {
namespace {

// Transposes 16x16 words in place.
inline void Transpose16(__m512i (&rows)[16]) {
  __m512i pairs[16], quads[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // quads[4g + c] holds, in its 128-bit part p, column 4p + c of rows 4g to 4g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even_low = _mm512_shuffle_i32x4(quads[c], quads[c + 4], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(quads[c], quads[c + 4], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(quads[c + 8], quads[c + 12], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(quads[c + 8], quads[c + 12], 0xdd);
    rows[c] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    rows[c + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    rows[c + 8] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    rows[c + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
}

inline __mmask16 FirstLanes(int count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// K section of rows of `words` 32-bit words each (one, two or four channels, which is also a lane's word).
inline void TransposeKeys(const uint8_t* rows, int row_count, int words, uint8_t* section) {
  const size_t row_bytes = static_cast<size_t>(words) * 4;
  for (int token = 0; token < kTileTokens; token += 16) {
    // Vectors of 16 tokens: block token / 32, half token / 16 % 2.
    uint8_t* out = section + static_cast<size_t>(token / 32) * words * 128 + (token / 16 % 2) * 64;
    for (int word = 0; word < words; word += 16) {
      const __mmask16 mask = FirstLanes(words - word);
      __m512i square[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        square[i] = token + i < row_count ? _mm512_maskz_loadu_epi32(mask, rows + (token + i) * row_bytes +
                                                                               static_cast<size_t>(word) * 4)
                                          : _mm512_setzero_si512();
      }
      Transpose16(square);
      const int columns = words - word < 16 ? words - word : 16;
      for (int i = 0; i < columns; ++i)
        _mm512_storeu_si512(out + static_cast<size_t>(word + i) * 128, square[i]);
    }
  }
}

// V section of float rows.
inline void BlockFloatValues(const uint8_t* rows, int row_count, int head_size, uint8_t* section) {
  for (int channel = 0; channel < head_size; channel += kBlockLanes) {
    const __mmask16 left = FirstLanes(head_size - channel), right = FirstLanes(head_size - channel - 16);
    for (int token = 0; token < kTileTokens; ++token, section += 128) {
      const uint8_t* from = rows + (static_cast<size_t>(token) * head_size + channel) * 4;
      const bool present = token < row_count;
      _mm512_storeu_ps(section, present ? _mm512_maskz_loadu_ps(left, from) : _mm512_setzero_ps());
      _mm512_storeu_ps(section + 64, present ? _mm512_maskz_loadu_ps(right, from + 64) : _mm512_setzero_ps());
    }
  }
}

// V section of bfloat16 or float16 rows: tokens 2t and 2t + 1 share a lane's word.
inline void BlockHalfWordValues(const uint8_t* rows, int row_count, int head_size, uint8_t* section) {
  for (int channel = 0; channel < head_size; channel += kBlockLanes) {
    const int left = head_size - channel;
    const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
    for (int token = 0; token < kTileTokens; token += 2, section += 128) {
      const uint8_t* from = rows + (static_cast<size_t>(token) * head_size + channel) * 2;
      const __m512i even = token < row_count ? _mm512_maskz_loadu_epi16(mask, from) : _mm512_setzero_si512();
      const __m512i odd = token + 1 < row_count
                              ? _mm512_maskz_loadu_epi16(mask, from + static_cast<size_t>(head_size) * 2)
                              : _mm512_setzero_si512();
      const __m512i even_left = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(even));
      const __m512i even_right = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(even, 1));
      const __m512i odd_left = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(odd)), 16);
      const __m512i odd_right =
          _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(odd, 1)), 16);
      _mm512_storeu_si512(section, _mm512_or_si512(even_left, odd_left));
      _mm512_storeu_si512(section + 64, _mm512_or_si512(even_right, odd_right));
    }
  }
}

// V section of rows of bytes: tokens 4t to 4t + 3 share a lane's word. Always 64 rows.
inline void BlockByteValues(const uint8_t* rows, int head_size, uint8_t* section) {
  for (int channel = 0; channel < head_size; channel += kBlockLanes) {
    const __mmask16 masks[2] = {FirstLanes(head_size - channel), FirstLanes(head_size - channel - 16)};
    for (int token = 0; token < kTileTokens; token += 4) {
      for (int half = 0; half < 2; ++half, section += 64) {
        const uint8_t* from = rows + static_cast<size_t>(token) * head_size + channel + 16 * half;
        __m512i words = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const __m512i bytes = _mm512_cvtepu8_epi32(
              _mm_maskz_loadu_epi8(masks[half], from + static_cast<size_t>(i) * head_size));
          words = _mm512_or_si512(words, _mm512_slli_epi32(bytes, 8 * i));
        }
        _mm512_storeu_si512(section, words);
      }
    }
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_DENSE_TILE_H_
