#include <immintrin.h>

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/dense_tile.h"
#include "kernels/avx512/int4_rows.h"
#include "kernels/avx512/stored_rows.h"
#include "kernels/scalar/scalar.h"

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
  BitmapWriter(const TileSection& section, uint8_t* tile, uint8_t* values)
      : masks_(tile + section.mask_offset),
        values_(values),
        end_(values + static_cast<size_t>(kTileTokens) * section.row_nonzeros * (4 / kInterleave)) {}

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

 private:
  uint8_t* masks_;
  uint8_t* values_;
  const uint8_t* const end_;
};

// Writes masks and kept elements; `dense` holds the vectors with the rows' bytes for int4 too.
// K: lanes are tokens, so a vector's mask collects one bit column of 16 tokens per step.
template <int kInterleave>
void WriteKeyBitmap(const TileSection& section, const StoredRows& rows, const uint8_t* dense, uint8_t* tile,
                    uint8_t* values) {
  BitmapWriter<kInterleave> writer(section, tile, values);
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
        for (int i = 0; i < kInterleave; ++i) {
          mask |= Spread<kInterleave>(rows.kept[block / 32][token + i] >> half & 0xffff, i);
        }
        writer.Write(dense, mask);
      }
    }
  }
}

// Room for a section's dense vectors and, for int4 bitmaps, the kept elements before they share bytes.
struct Scratch {
  alignas(64) uint8_t vectors[kTileTokens * kMaxHeadSize * 4];
  alignas(64) uint8_t kept[kTileTokens * kMaxHeadSize + 64];
};

size_t StoredBytes(const TileSection& section) {
  const size_t elements = section.bitmap ? static_cast<size_t>(kTileTokens) * section.row_nonzeros
                                         : static_cast<size_t>(section.lanes) * section.reduction;
  return elements * ElementBits(section.storage) / 8;
}

// `write_bitmap` is called with the vectors and where their kept elements go.
template <class WriteBitmap>
void FinishSection(const TileSection& section, const WriteBitmap& write_bitmap, Scratch* scratch,
                   uint8_t* tile) {
  uint8_t* values = tile + section.value_offset;
  const size_t bytes = StoredBytes(section);
  if (section.per_step_scales()) {
    JoinHalves(scratch->vectors, bytes, values);
  } else if (section.bitmap && section.storage == Storage::kInt4) {
    write_bitmap(scratch->kept);
    JoinNeighbours(scratch->kept, bytes, values);
  } else if (section.bitmap) {
    write_bitmap(values);
  }
  // Equal rows make equal tiles: zeros up to the next multiple of 64 bytes.
  const size_t gap = (64 - (section.value_offset + bytes) % 64) % 64;
  _mm512_mask_storeu_epi8(values + bytes, SetBits(static_cast<int>(gap)), _mm512_setzero_si512());
}

bool IsInPlace(const TileSection& section) {
  return !section.bitmap && section.storage != Storage::kInt4;
}

void PackKeys(const TileSection& section, const StoredRows& rows, Scratch* scratch, uint8_t* tile) {
  uint8_t* dense = IsInPlace(section) ? tile + section.value_offset : scratch->vectors;
  TransposeKeys(rows.elements, kTileTokens, rows.row_bytes / 4, dense);
  FinishSection(
      section,
      [&](uint8_t* values) {
        switch (section.storage) {
          case Storage::kFloat32:
            return WriteKeyBitmap<1>(section, rows, dense, tile, values);
          case Storage::kBFloat16:
          case Storage::kFloat16:
            return WriteKeyBitmap<2>(section, rows, dense, tile, values);
          case Storage::kInt8:
          case Storage::kInt4:
            return WriteKeyBitmap<4>(section, rows, dense, tile, values);
        }
      },
      scratch, tile);
}

void PackValues(const TileSection& section, int head_size, const StoredRows& rows, Scratch* scratch,
                uint8_t* tile) {
  uint8_t* dense = IsInPlace(section) ? tile + section.value_offset : scratch->vectors;
  switch (section.storage) {
    case Storage::kFloat32:
      BlockFloatValues(rows.elements, kTileTokens, head_size, dense);
      break;
    case Storage::kBFloat16:
    case Storage::kFloat16:
      BlockHalfWordValues(rows.elements, kTileTokens, head_size, dense);
      break;
    case Storage::kInt8:
    case Storage::kInt4:
      BlockByteValues(rows.elements, head_size, dense);
      break;
  }
  FinishSection(
      section,
      [&](uint8_t* values) {
        switch (section.storage) {
          case Storage::kFloat32:
            return WriteValueBitmap<1>(section, rows, dense, tile, values);
          case Storage::kBFloat16:
          case Storage::kFloat16:
            return WriteValueBitmap<2>(section, rows, dense, tile, values);
          case Storage::kInt8:
          case Storage::kInt4:
            return WriteValueBitmap<4>(section, rows, dense, tile, values);
        }
      },
      scratch, tile);
}

}  // namespace

void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile) {
  // Only prompts have tiles of fewer V channels, and packing is a small part of reading one.
  if (format.value_channels != format.head_size)
    return scalar::PackTile(format, keys, values, row_stride, key_channels, value_channels, tile);
  alignas(64) StoredRows rows;
  Scratch scratch;
  alignas(64) float row[kMaxHeadSize];

  uint32_t kept_channels[kMaxHeadSize / 32] = {};
  for (int i = 0; i < format.key_channels; ++i)
    kept_channels[key_channels[i] / 32] |= 1u << (key_channels[i] % 32);

  rows.Begin(format.key, format.key_channels, format.key.reduction, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    LoadRow(keys + token * row_stride, format.head_size, kept_channels, row);
    rows.Add(token, row);
  }
  if (format.key.per_step_scales()) QuantiseInt4Keys(format.key, format.key_channels, tile, &rows);
  PackKeys(format.key, rows, &scratch, tile);

  rows.Begin(format.value, format.head_size, format.head_size, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    LoadRow(values + token * row_stride, format.head_size, nullptr, row);
    rows.Add(token, row);
  }
  if (format.value.per_step_scales()) QuantiseInt4Values(format.value, format.head_size, tile, &rows);
  PackValues(format.value, format.head_size, rows, &scratch, tile);
}

}  // namespace kvprune::avx512
