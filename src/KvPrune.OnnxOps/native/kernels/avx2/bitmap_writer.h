#ifndef KVPRUNE_KERNELS_AVX2_BITMAP_WRITER_H_
#define KVPRUNE_KERNELS_AVX2_BITMAP_WRITER_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/byte_tables.h"
#include "kernels/avx2/stored_rows.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

// Sections stored as a bitmap, from their dense vectors: masks go into the tile, kept elements to `values`.
namespace kvprune {
namespace {

constexpr ShuffleTable<1> kCompressBytes = MakeCompressTable<1>();
constexpr ShuffleTable<2> kCompressPairs = MakeCompressTable<2>();

// Bit i of 16 goes to bit kInterleave x i. (Deposit instructions are slow on Zen 1 and 2.)
template <int kInterleave>
uint64_t Spread(uint64_t bits) {
  if constexpr (kInterleave == 2) {
    bits = (bits | bits << 8) & 0x00ff00ffu;
    bits = (bits | bits << 4) & 0x0f0f0f0fu;
    bits = (bits | bits << 2) & 0x33333333u;
    bits = (bits | bits << 1) & 0x55555555u;
  } else if constexpr (kInterleave == 4) {
    bits = (bits | bits << 24) & 0x000000ff000000ffu;
    bits = (bits | bits << 12) & 0x000f000f000f000fu;
    bits = (bits | bits << 6) & 0x0303030303030303u;
    bits = (bits | bits << 3) & 0x1111111111111111u;
  }
  return bits;
}

// Writes the kept elements of dense vectors in order. Vectors come in the order of the section.
template <int kInterleave>
class BitmapWriter {
 public:
  BitmapWriter(const TileSection& section, uint8_t* tile, uint8_t* values)
      : masks_(tile + section.mask_offset),
        values_(values),
        end_(values_ + static_cast<size_t>(kTileTokens) * section.row_nonzeros * kElementBytes) {}

  void Write(const uint8_t* vector, uint64_t mask) {
    __builtin_memcpy(masks_, &mask, 2 * kInterleave);
    masks_ += 2 * kInterleave;
    for (int i = 0; i < 2 * kInterleave; ++i, mask >>= 8, vector += kBytes) Compress(vector, mask & 0xff);
  }

 private:
  static constexpr int kElementBytes = 4 / kInterleave;
  static constexpr int kBytes = 8 * kElementBytes;

  // 8 elements.
  void Compress(const uint8_t* from, uint64_t mask) {
    alignas(32) uint8_t packed[kBytes];
    // Whole stores while the section has room for them, which later ones overwrite.
    const bool whole = end_ - values_ >= kBytes;
    uint8_t* to = whole ? values_ : packed;
    if constexpr (kInterleave == 1) {
      const auto* bytes = reinterpret_cast<const __m128i*>(kCompressBytes.indices[mask]);
      Store(to, _mm256_permutevar8x32_epi32(Load(from), _mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes))));
    } else if constexpr (kInterleave == 2) {
      StoreHalf(to, _mm_shuffle_epi8(LoadHalf(from), LoadHalf(kCompressPairs.indices[mask])));
    } else {
      const auto* bytes = reinterpret_cast<const __m128i*>(kCompressBytes.indices[mask]);
      const __m128i elements = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(elements, _mm_loadl_epi64(bytes)));
    }
    const size_t bytes = static_cast<size_t>(__builtin_popcountll(mask)) * kElementBytes;
    if (!whole) __builtin_memcpy(values_, packed, bytes);
    values_ += bytes;
  }

  uint8_t* masks_;
  uint8_t* values_;
  const uint8_t* const end_;
};

// K: lanes are tokens, so a vector's mask collects one bit column of 16 tokens per step.
template <int kInterleave>
void WriteKeyBitmap(const TileSection& section, const StoredRows& rows, const uint8_t* dense, uint8_t* tile,
                    uint8_t* values) {
  BitmapWriter<kInterleave> writer(section, tile, values);
  for (int block = 0; block < kTileTokens; block += kBlockLanes) {
    for (int step = 0; step < section.reduction; step += kInterleave) {
      for (int token = block; token < block + kBlockLanes; token += 16, dense += 64) {
        uint64_t mask = 0;
#pragma GCC unroll 4
        for (int i = 0; i < kInterleave; ++i) {
          const uint32_t* kept = rows.kept[(step + i) / 32] + token;
          // To the sign, which movemask takes.
          const __m128i shift = _mm_cvtsi32_si128(31 - (step + i) % 32);
          const int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sll_epi32(Load(kept), shift)));
          const int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sll_epi32(Load(kept + 8), shift)));
          mask |= Spread<kInterleave>(static_cast<uint64_t>(low | high << 8)) << i;
        }
        writer.Write(dense, mask);
      }
    }
  }
}

// V: lanes are channels, so a vector's mask joins 16 bits of the tokens that share its words.
template <int kInterleave>
void WriteValueBitmap(const TileSection& section, const StoredRows& rows, const uint8_t* dense, uint8_t* tile,
                      uint8_t* values) {
  BitmapWriter<kInterleave> writer(section, tile, values);
  for (int block = 0; block < section.lanes; block += kBlockLanes) {
    for (int token = 0; token < kTileTokens; token += kInterleave) {
      for (int half = 0; half < kBlockLanes; half += 16, dense += 64) {
        uint64_t mask = 0;
#pragma GCC unroll 4
        for (int i = 0; i < kInterleave; ++i)
          mask |= Spread<kInterleave>(rows.kept[block / 32][token + i] >> half & 0xffff) << i;
        writer.Write(dense, mask);
      }
    }
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_BITMAP_WRITER_H_
