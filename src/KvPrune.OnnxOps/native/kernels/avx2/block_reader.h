#ifndef KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_
#define KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/byte_tables.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

constexpr ShuffleTable<1> kExpandBytes = MakeExpandTable<1>();
constexpr ShuffleTable<2> kExpandPairs = MakeExpandTable<2>();

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
    switch (section_.storage) {
      case Storage::kFloat32:
        return NextOf<4>();
      case Storage::kBFloat16:
        return NextOf<2>();
      case Storage::kInt8:
        return NextOf<1>();
    }
    __builtin_unreachable();
  }

 private:
  template <int kElementBytes>
  const uint8_t* NextOf() {
    const size_t bytes = static_cast<size_t>(section_.reduction) * kBlockLanes * kElementBytes;
    if (!section_.bitmap) {
      const uint8_t* block = values_;
      values_ += bytes;
      return block;
    }
    const uint8_t* values = values_;
    const size_t mask_bytes = bytes / kElementBytes / 8;
    for (size_t i = 0; i < mask_bytes; ++i) {
      if (i % (8 / kElementBytes) == 0) {
        _mm_prefetch(reinterpret_cast<const char*>(values + stride_), _MM_HINT_T0);
      }
      const uint8_t mask = masks_[i];
      Expand<kElementBytes>(mask, values, scratch_ + i * (8 * kElementBytes));
      values += __builtin_popcount(mask) * kElementBytes;
    }
    for (size_t line = 0; line < mask_bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(masks_ + line + stride_), _MM_HINT_T0);
    }
    masks_ += mask_bytes;
    values_ = values;
    return scratch_;
  }

  // 8 elements.
  template <int kElementBytes>
  static void Expand(uint8_t mask, const uint8_t* values, uint8_t* out) {
    if constexpr (kElementBytes == 4) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kExpandBytes.indices[mask]));
      const __m256i indices = _mm256_cvtepi8_epi32(bytes);
      const __m256i elements = _mm256_permutevar8x32_epi32(Load(values), indices);
      Store(out, _mm256_andnot_si256(_mm256_srai_epi32(indices, 31), elements));
    } else if constexpr (kElementBytes == 2) {
      const __m128i indices = _mm_load_si128(reinterpret_cast<const __m128i*>(kExpandPairs.indices[mask]));
      StoreHalf(out, _mm_shuffle_epi8(LoadHalf(values), indices));
    } else {
      const __m128i indices = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kExpandBytes.indices[mask]));
      const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(packed, indices));
    }
  }

  const TileSection& section_;
  const uint8_t* masks_;
  const uint8_t* values_;
  const size_t stride_;
  uint8_t* const scratch_;
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_
