#ifndef KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_
#define KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/byte_tables.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// Dense sections are read this far ahead into the second-level cache, over the page's end where processors
// stop by themselves.
constexpr int kPrefetchBytes = 8192;

constexpr ShuffleTable<1> kExpandBytes = MakeExpandTable<1>();
constexpr ShuffleTable<2> kExpandPairs = MakeExpandTable<2>();

// Gives the blocks of one section as dense vectors that the block kernels multiply: in place, or expanded
// into `scratch`. Float16 becomes float32 and int4 int8 (dense: the numbers less 8), which costs less than a
// multiplication with one query row does.
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
        return NextOf<4>(scratch_);
      case Storage::kBFloat16:
        return NextOf<2>(scratch_);
      case Storage::kInt8:
        return NextOf<1>(scratch_);
      case Storage::kFloat16:
        // An expanded bitmap goes to the upper half of the floats' place: they grow up to it and no further.
        return Widen(NextOf<2>(scratch_ + static_cast<size_t>(section_.reduction) * kBlockLanes * 2));
      case Storage::kInt4:
        return section_.bitmap ? ExpandInt4() : SplitInt4();
    }
    __builtin_unreachable();
  }

 private:
  template <int kElementBytes>
  const uint8_t* NextOf(uint8_t* expanded) {
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
      Expand<kElementBytes>(mask, values, expanded + i * (8 * kElementBytes));
      values += __builtin_popcount(mask) * kElementBytes;
    }
    for (size_t line = 0; line < mask_bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(masks_ + line + stride_), _MM_HINT_T0);
    }
    masks_ += mask_bytes;
    values_ = values;
    return expanded;
  }

  // Words of two float16 steps become two rows of floats.
  const uint8_t* Widen(const uint8_t* words) {
    const __m256i even_first =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    uint8_t* out = scratch_;
    for (int step = 0; step < section_.reduction; step += 2, words += 128, out += 256) {
      PrefetchLine(words);
      PrefetchLine(words + 64);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i sorted =
            _mm256_permute4x64_epi64(_mm256_shuffle_epi8(Load(words + 32 * i), even_first), 0xd8);
        const __m256 even = _mm256_cvtph_ps(_mm256_castsi256_si128(sorted));
        const __m256 odd = _mm256_cvtph_ps(_mm256_extracti128_si256(sorted, 1));
        Store(out + 32 * i, _mm256_castps_si256(even));
        Store(out + 128 + 32 * i, _mm256_castps_si256(odd));
      }
    }
    return scratch_;
  }

  // The two halves of a group of four steps, which share bytes.
  const uint8_t* SplitInt4() {
    const __m256i low_bits = _mm256_set1_epi8(15), eight = _mm256_set1_epi8(8);
    uint8_t* out = scratch_;
    for (int step = 0; step < section_.reduction; step += 4, values_ += 64, out += 128) {
      PrefetchLine(values_);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const __m256i pairs = Load(values_ + 32 * i);
        const __m256i left = _mm256_and_si256(pairs, low_bits);
        const __m256i right = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), low_bits);
        Store(out + 32 * i, _mm256_sub_epi8(left, eight));
        Store(out + 64 + 32 * i, _mm256_sub_epi8(right, eight));
      }
    }
    return scratch_;
  }

  const uint8_t* ExpandInt4() {
    const size_t mask_bytes = static_cast<size_t>(section_.reduction) * kBlockLanes / 8;
    const __m128i low_bits = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    for (size_t i = 0; i < mask_bytes; ++i) {
      const uint8_t* values = values_ + read_ / 2;
      if (i % 16 == 0) _mm_prefetch(reinterpret_cast<const char*>(values + stride_), _MM_HINT_T0);
      const uint8_t mask = masks_[i];
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
      // The next number to the lowest bits, then each to a byte of its own.
      const __m128i numbers = _mm_srl_epi64(bytes, _mm_cvtsi32_si128(static_cast<int>(read_ % 2 * 4)));
      const __m128i apart = _mm_unpacklo_epi8(_mm_and_si128(numbers, low_bits),
                                              _mm_and_si128(_mm_srli_epi16(numbers, 4), low_bits));
      const __m128i indices = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kExpandBytes.indices[mask]));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(scratch_ + 8 * i),
                       _mm_shuffle_epi8(_mm_sub_epi8(apart, eight), indices));
      read_ += static_cast<size_t>(__builtin_popcount(mask));
    }
    for (size_t line = 0; line < mask_bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(masks_ + line + stride_), _MM_HINT_T0);
    }
    masks_ += mask_bytes;
    return scratch_;
  }

  // What is converted is read here and not by the block kernels.
  static inline __attribute__((always_inline)) void PrefetchLine(const uint8_t* line) {
    _mm_prefetch(reinterpret_cast<const char*>(line + kPrefetchBytes), _MM_HINT_T1);
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
  size_t read_ = 0;  // int4 bitmaps: elements before the next block
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_BLOCK_READER_H_
