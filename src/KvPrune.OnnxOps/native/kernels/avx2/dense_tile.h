#ifndef KVPRUNE_KERNELS_AVX2_DENSE_TILE_H_
#define KVPRUNE_KERNELS_AVX2_DENSE_TILE_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

// 64 row-major rows, row_bytes apart and zero up to the next multiple of 32 elements, rearranged as the
// vectors of a dense section.
namespace kvprune {
namespace {

// Transposes 8x8 words in place.
inline void Transpose8(__m256i (&rows)[8]) {
  __m256i pairs[8], quads[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // quads[4g + c] holds, in its half h, column 4h + c of rows 4g to 4g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    rows[c] = _mm256_permute2x128_si256(quads[c], quads[c + 4], 0x20);
    rows[c + 4] = _mm256_permute2x128_si256(quads[c], quads[c + 4], 0x31);
  }
}

// K section: `words` 32-bit words a row, which are also a lane's words.
inline void TransposeKeys(const uint8_t* rows, size_t row_bytes, int words, uint8_t* section) {
  for (int token = 0; token < kTileTokens; token += 8) {
    // Vectors of 8 tokens: block token / 32, quarter token / 8 % 4.
    uint8_t* out = section + static_cast<size_t>(token / 32) * words * 128 + (token / 8 % 4) * 32;
    for (int word = 0; word < words; word += 8) {
      __m256i square[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        square[i] = Load(rows + (token + i) * row_bytes + static_cast<size_t>(word) * 4);
      Transpose8(square);
      const int columns = Min(words - word, 8);
      for (int i = 0; i < columns; ++i) Store(out + static_cast<size_t>(word + i) * 128, square[i]);
    }
  }
}

// V section of floats, `lanes` padded channels.
inline void BlockFloatValues(const uint8_t* rows, size_t row_bytes, int lanes, uint8_t* section) {
  for (int channel = 0; channel < lanes; channel += kBlockLanes) {
    const uint8_t* from = rows + static_cast<size_t>(channel) * 4;
    for (int token = 0; token < kTileTokens; ++token, from += row_bytes, section += 128)
      __builtin_memcpy(section, from, 128);
  }
}

// V section of bfloat16 or float16: tokens 2t and 2t + 1 share a lane's word.
inline void BlockHalfWordValues(const uint8_t* rows, size_t row_bytes, int lanes, uint8_t* section) {
  for (int channel = 0; channel < lanes; channel += kBlockLanes) {
    const uint8_t* from = rows + static_cast<size_t>(channel) * 2;
    for (int token = 0; token < kTileTokens; token += 2, from += 2 * row_bytes) {
      for (int half = 0; half < 2; ++half, section += 64) {
        const __m256i even = Load(from + 32 * half), odd = Load(from + row_bytes + 32 * half);
        const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
        Store(section, _mm256_permute2x128_si256(low, high, 0x20));
        Store(section + 32, _mm256_permute2x128_si256(low, high, 0x31));
      }
    }
  }
}

// V section of bytes: tokens 4t to 4t + 3 share a lane's word.
inline void BlockByteValues(const uint8_t* rows, size_t row_bytes, int lanes, uint8_t* section) {
  for (int channel = 0; channel < lanes; channel += 16) {
    // Vectors of 16 channels: block channel / 32, half channel / 16 % 2.
    uint8_t* out =
        section + static_cast<size_t>(channel / 32) * (kTileTokens / 4) * 128 + (channel / 16 % 2) * 64;
    const uint8_t* from = rows + channel;
    for (int token = 0; token < kTileTokens; token += 4, from += 4 * row_bytes, out += 128) {
      const __m128i first = LoadHalf(from), second = LoadHalf(from + row_bytes);
      const __m128i third = LoadHalf(from + 2 * row_bytes), fourth = LoadHalf(from + 3 * row_bytes);
      const __m128i low[2] = {_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second)};
      const __m128i high[2] = {_mm_unpacklo_epi8(third, fourth), _mm_unpackhi_epi8(third, fourth)};
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        StoreHalf(out + 32 * i, _mm_unpacklo_epi16(low[i], high[i]));
        StoreHalf(out + 32 * i + 16, _mm_unpackhi_epi16(low[i], high[i]));
      }
    }
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_DENSE_TILE_H_
