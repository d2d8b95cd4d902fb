#ifndef KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_
#define KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// Gives the blocks of one section as dense vectors: in place, or expanded from a bitmap into `scratch`. Those
// of an int4 bitmap become int8.
class BlockReader {
 public:
  // Reads the section of the next tile ahead, `stride` bytes on.
  BlockReader(const TileSection& section, const uint8_t* tile, size_t stride, uint8_t* scratch)
      : section_(section),
        masks_(tile + section.mask_offset),
        values_(tile + section.value_offset),
        stride_(stride),
        scratch_(scratch) {}

  const uint8_t* Next() {
    if (section_.bitmap) {
      switch (section_.storage) {
        case Storage::kFloat32:
          Expand<4>(section_.reduction);
          break;
        case Storage::kBFloat16:
        case Storage::kFloat16:
          Expand<2>(section_.reduction / 2);
          break;
        case Storage::kInt8:
          Expand<1>(section_.reduction / 4);
          break;
        case Storage::kInt4:
          ExpandInt4(section_.reduction / 4);
          break;
      }
      return scratch_;
    }
    const uint8_t* block = values_;
    values_ += static_cast<size_t>(section_.reduction) * kBlockLanes * ElementBits(section_.storage) / 8;
    return block;
  }

 private:
  template <int kElementBytes>
  void Expand(int groups) {
    const uint8_t* masks = masks_;
    const uint8_t* values = values_;
    uint8_t* out = scratch_;
    for (int i = 0; i < 2 * groups; ++i, out += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(values + stride_), _MM_HINT_T0);
      const __m512i packed = LoadOnce(values);
      __m512i vector;
      if constexpr (kElementBytes == 4) {
        uint16_t mask;
        __builtin_memcpy(&mask, masks, 2);
        vector = _mm512_maskz_expand_epi32(mask, packed);
        values += 4 * __builtin_popcount(mask);
        masks += 2;
      } else if constexpr (kElementBytes == 2) {
        uint32_t mask;
        __builtin_memcpy(&mask, masks, 4);
        vector = _mm512_maskz_expand_epi16(mask, packed);
        values += 2 * __builtin_popcount(mask);
        masks += 4;
      } else {
        uint64_t mask;
        __builtin_memcpy(&mask, masks, 8);
        vector = _mm512_maskz_expand_epi8(mask, packed);
        values += __builtin_popcountll(mask);
        masks += 8;
      }
      _mm512_store_si512(out, vector);
    }
    for (const uint8_t* line = masks_; line < masks; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(line + stride_), _MM_HINT_T0);
    }
    masks_ = masks;
    values_ = values;
  }

  void ExpandInt4(int groups) {
    // Each 64-bit lane gets the five bytes in which its eight numbers lie, from an even or an odd one on.
    const __m512i neighbours = _mm512_set_epi32(8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0);
    const __m512i even = _mm512_set1_epi64(0x1c1814100c080400);
    const __m512i low_bits = _mm512_set1_epi8(0x0f);
    const __m512i eight = _mm512_set1_epi8(8);
    const uint8_t* masks = masks_;
    uint8_t* out = scratch_;
    for (int i = 0; i < 2 * groups; ++i, out += 64, masks += 8) {
      const uint8_t* values = values_ + read_ / 2;
      _mm_prefetch(reinterpret_cast<const char*>(values + stride_), _MM_HINT_T0);
      const __m512i bytes = _mm512_permutexvar_epi32(neighbours, LoadOnce(values));
      const __m512i first = _mm512_add_epi8(even, _mm512_set1_epi8(static_cast<char>(read_ % 2 * 4)));
      const __m512i numbers = _mm512_and_si512(_mm512_multishift_epi64_epi8(first, bytes), low_bits);
      uint64_t mask;
      __builtin_memcpy(&mask, masks, 8);
      _mm512_store_si512(out, _mm512_maskz_expand_epi8(mask, _mm512_sub_epi8(numbers, eight)));
      read_ += __builtin_popcountll(mask);
    }
    for (const uint8_t* line = masks_; line < masks; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(line + stride_), _MM_HINT_T0);
    }
    masks_ = masks;
  }

  const TileSection& section_;
  const uint8_t* masks_;
  const uint8_t* values_;
  const size_t stride_;
  uint8_t* const scratch_;
  size_t read_ = 0;  // int4 bitmaps: elements before the next block
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_
