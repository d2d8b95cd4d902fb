#include <immintrin.h>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/dense_tile.h"
#include "kernels/avx512/stored_rows.h"

namespace kvprune::avx512 {
namespace {

// Bits of 16 lanes, `Interleave` steps each, as a bitmap stores them.
template <int kInterleave>
uint64_t Spread(uint32_t lanes, int step) {
  if constexpr (kInterleave == 1) return lanes;
  if constexpr (kInterleave == 2) return _pdep_u32(lanes, 0x55555555u << step);
  return _pdep_u64(lanes, 0x1111111111111111u << step);
}

// Writes the kept elements of dense vectors in order. Vectors come in the order of the section.
template <int kInterleave>
class BitmapWriter {
 public:
  BitmapWriter(const TileSection& section, uint8_t* tile)
      : masks_(tile + section.mask_offset),
        values_(tile + section.value_offset),
        end_(values_ + static_cast<size_t>(kTileTokens) * section.row_nonzeros * (4 / kInterleave)) {}

  void Write(const uint8_t* vector, uint64_t mask) {
    __builtin_memcpy(masks_, &mask, 2 * kInterleave);
    masks_ += 2 * kInterleave;
    // Compressing straight to memory is slow on some processors.
    const __m512i elements = _mm512_load_si512(vector);
    __m512i packed;
    if constexpr (kInterleave == 1) {
      packed = _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), elements);
    } else if constexpr (kInterleave == 2) {
      packed = _mm512_maskz_compress_epi16(static_cast<__mmask32>(mask), elements);
    } else {
      packed = _mm512_maskz_compress_epi8(mask, elements);
    }
    const int bytes = __builtin_popcountll(mask) * (4 / kInterleave);
    if (end_ - values_ >= 64) {
      _mm512_storeu_si512(values_, packed);
    } else {
      _mm512_mask_storeu_epi8(values_, SetBits(bytes), packed);
    }
    values_ += bytes;
  }

  // Zeros up to the next multiple of 64 bytes of the tile.
  void Finish(const uint8_t* tile) {
    const size_t gap = (64 - static_cast<size_t>(values_ - tile) % 64) % 64;
    _mm512_mask_storeu_epi8(values_, SetBits(static_cast<int>(gap)), _mm512_setzero_si512());
  }

 private:
  uint8_t* masks_;
  uint8_t* values_;
  const uint8_t* const end_;
};

// K: lanes are tokens, so a vector's mask collects one bit column of 16 tokens per step.
template <int kInterleave>
void WriteKeyBitmap(const TileSection& section, const StoredRows& rows, const uint8_t* dense, uint8_t* tile) {
  BitmapWriter<kInterleave> writer(section, tile);
  for (int block = 0; block < kTileTokens; block += kBlockLanes) {
    for (int step = 0; step < section.reduction; step += kInterleave) {
      for (int token = block; token < block + kBlockLanes; token += 16, dense += 64) {
        const __m512i kept = _mm512_load_si512(rows.kept[step / 32] + token);
        uint64_t mask = 0;
#pragma GCC unroll 4
        for (int i = 0; i < kInterleave; ++i) {
          const __m512i bit = _mm512_set1_epi32(static_cast<int>(1u << ((step + i) % 32)));
          mask |= Spread<kInterleave>(_mm512_test_epi32_mask(kept, bit), i);
        }
        writer.Write(dense, mask);
      }
    }
  }
  writer.Finish(tile);
}

// V: lanes are channels, so a vector's mask joins 16 bits of the tokens that share its words.
template <int kInterleave>
void WriteValueBitmap(const TileSection& section, const StoredRows& rows, const uint8_t* dense,
                      uint8_t* tile) {
  BitmapWriter<kInterleave> writer(section, tile);
  for (int block = 0; block < section.lanes; block += kBlockLanes) {
    for (int token = 0; token < kTileTokens; token += kInterleave) {
      for (int half = 0; half < kBlockLanes; half += 16, dense += 64) {
        uint64_t mask = 0;
#pragma GCC unroll 4
        for (int i = 0; i < kInterleave; ++i) {
          mask |= Spread<kInterleave>(rows.kept[block / 32][token + i] >> half & 0xffff, i);
        }
        writer.Write(dense, mask);
      }
    }
  }
  writer.Finish(tile);
}

void PackKeys(const TileSection& section, const StoredRows& rows, uint8_t* scratch, uint8_t* tile) {
  uint8_t* dense = section.bitmap ? scratch : tile + section.value_offset;
  TransposeKeys(rows.elements, kTileTokens, rows.row_bytes / 4, dense);
  if (!section.bitmap) return;
  switch (section.storage) {
    case Storage::kFloat32:
      return WriteKeyBitmap<1>(section, rows, dense, tile);
    case Storage::kBFloat16:
      return WriteKeyBitmap<2>(section, rows, dense, tile);
    case Storage::kInt8:
      return WriteKeyBitmap<4>(section, rows, dense, tile);
  }
}

void PackValues(const TileSection& section, int head_size, const StoredRows& rows, uint8_t* scratch,
                uint8_t* tile) {
  uint8_t* dense = section.bitmap ? scratch : tile + section.value_offset;
  switch (section.storage) {
    case Storage::kFloat32:
      BlockFloatValues(rows.elements, kTileTokens, head_size, dense);
      if (section.bitmap) WriteValueBitmap<1>(section, rows, dense, tile);
      return;
    case Storage::kBFloat16:
      BlockBFloat16Values(rows.elements, kTileTokens, head_size, dense);
      if (section.bitmap) WriteValueBitmap<2>(section, rows, dense, tile);
      return;
    case Storage::kInt8:
      BlockInt8Values(rows.elements, head_size, dense);
      if (section.bitmap) WriteValueBitmap<4>(section, rows, dense, tile);
      return;
  }
}

}  // namespace

void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* channels, uint8_t* tile) {
  alignas(64) StoredRows rows;
  alignas(64) uint8_t scratch[kTileTokens * kMaxHeadSize * 4];
  alignas(64) float row[kMaxHeadSize];

  uint32_t kept_channels[kMaxHeadSize / 32] = {};
  for (int i = 0; i < format.key_channels; ++i) kept_channels[channels[i] / 32] |= 1u << (channels[i] % 32);

  rows.Begin(format.key, format.key_channels, format.key.reduction, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    LoadRow(keys + token * row_stride, format.head_size, kept_channels, row);
    rows.Add(token, row);
  }
  PackKeys(format.key, rows, scratch, tile);

  rows.Begin(format.value, format.head_size, format.head_size, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    LoadRow(values + token * row_stride, format.head_size, nullptr, row);
    rows.Add(token, row);
  }
  PackValues(format.value, format.head_size, rows, scratch, tile);
}

}  // namespace kvprune::avx512
