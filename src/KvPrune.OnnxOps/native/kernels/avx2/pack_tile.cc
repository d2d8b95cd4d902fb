#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bitmap_writer.h"
#include "kernels/avx2/dense_tile.h"
#include "kernels/avx2/int4_rows.h"
#include "kernels/avx2/stored_rows.h"
#include "kernels/scalar/scalar.h"

namespace kvprune::avx2 {
namespace {

// Room for a section's dense vectors and, for int4 bitmaps, the kept elements before they share bytes.
struct Scratch {
  alignas(64) uint8_t vectors[kTileTokens * kMaxHeadSize * 4];
  alignas(64) uint8_t kept[kTileTokens * kMaxHeadSize];
};

size_t StoredBytes(const TileSection& section) {
  const size_t elements = section.bitmap ? static_cast<size_t>(kTileTokens) * section.row_nonzeros
                                         : static_cast<size_t>(section.lanes) * section.reduction;
  return elements * ElementBits(section.storage) / 8;
}

// Where the section's dense vectors go: they are what is stored, or become it.
uint8_t* DenseVectors(const TileSection& section, Scratch* scratch, uint8_t* tile) {
  const bool stored = !section.bitmap && section.storage != Storage::kInt4;
  return stored ? tile + section.value_offset : scratch->vectors;
}

// `write_bitmap` is called with where the vectors' kept elements go.
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
  __builtin_memset(values + bytes, 0, (64 - (section.value_offset + bytes) % 64) % 64);
}

void PackKeys(const TileSection& section, const StoredRows& rows, Scratch* scratch, uint8_t* tile) {
  uint8_t* dense = DenseVectors(section, scratch, tile);
  TransposeKeys(rows.elements, rows.row_bytes, section.reduction / Interleave(section.storage), dense);
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

void PackValues(const TileSection& section, const StoredRows& rows, Scratch* scratch, uint8_t* tile) {
  uint8_t* dense = DenseVectors(section, scratch, tile);
  switch (section.storage) {
    case Storage::kFloat32:
      BlockFloatValues(rows.elements, rows.row_bytes, section.lanes, dense);
      break;
    case Storage::kBFloat16:
    case Storage::kFloat16:
      BlockHalfWordValues(rows.elements, rows.row_bytes, section.lanes, dense);
      break;
    case Storage::kInt8:
    case Storage::kInt4:
      BlockByteValues(rows.elements, rows.row_bytes, section.lanes, dense);
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
  StoredRows rows;
  Scratch scratch;
  alignas(32) float row[kMaxHeadSize] = {};

  rows.Begin(format.key, format.key_channels, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    const float* from = keys + token * row_stride;
    for (int i = 0; i < format.key_channels; ++i) row[i] = from[key_channels[i]];
    rows.Add(token, row);
  }
  if (format.key.per_step_scales()) QuantiseInt4Keys(format.key, tile, &rows);
  PackKeys(format.key, rows, &scratch, tile);

  rows.Begin(format.value, format.head_size, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    // At least as wide as the keys, so what they left is overwritten.
    __builtin_memcpy(row, values + token * row_stride, static_cast<size_t>(format.head_size) * sizeof(float));
    rows.Add(token, row);
  }
  if (format.value.per_step_scales()) QuantiseInt4Values(format.value, format.head_size, tile, &rows);
  PackValues(format.value, rows, &scratch, tile);
}

}  // namespace kvprune::avx2
