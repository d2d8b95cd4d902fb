#ifndef KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_
#define KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// Gives the blocks of one section as dense vectors: in place, or expanded from a bitmap into `scratch`.
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
          Expand<2>(section_.reduction / 2);
          break;
        case Storage::kInt8:
          Expand<1>(section_.reduction / 4);
          break;
      }
      return scratch_;
    }
    const uint8_t* block = values_;
    values_ += static_cast<size_t>(section_.reduction) * kBlockLanes *
               (section_.storage == Storage::kFloat32    ? 4
                : section_.storage == Storage::kBFloat16 ? 2
                                                         : 1);
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

  const TileSection& section_;
  const uint8_t* masks_;
  const uint8_t* values_;
  const size_t stride_;
  uint8_t* const scratch_;
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_BLOCK_READER_H_
