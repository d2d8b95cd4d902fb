#ifndef KVPRUNE_KERNELS_TILE_FORMAT_H_
#define KVPRUNE_KERNELS_TILE_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace kvprune {

// A tile holds 64 consecutive tokens of one KV head: first its K section, then its V section.
inline constexpr int kTileTokens = 64;
// Lanes of one block: two 512-bit vectors of 16 32-bit words.
inline constexpr int kBlockLanes = 32;
// Vector loads of packed values may read this far past the last tile of a slab.
inline constexpr size_t kOverreadBytes = 64;
inline constexpr int kMaxHeadSize = 256;

enum class Storage : uint8_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2, kFloat16 = 3, kInt4 = 4 };

// Always inline, so that files compiled for other instruction sets leave no copy for the linker to choose.
__attribute__((always_inline)) constexpr int ElementBits(Storage storage) {
  switch (storage) {
    case Storage::kFloat32:
      return 32;
    case Storage::kBFloat16:
    case Storage::kFloat16:
      return 16;
    case Storage::kInt8:
      return 8;
    case Storage::kInt4:
      return 4;
  }
  return 0;
}

// Of the storages that rows outside tiles have, which are those of floating-point numbers.
constexpr size_t ElementBytes(Storage storage) {
  return static_cast<size_t>(ElementBits(storage)) / 8;
}

// Consecutive reduction steps that share a lane's 32-bit word. (Int4 has as many as int8: see below.)
__attribute__((always_inline)) constexpr int Interleave(Storage storage) {
  return storage == Storage::kInt4 ? 4 : 32 / ElementBits(storage);
}

// Lanes that share the scales of a dense int4 section: a tile's tokens, or 64 of the kept channels.
inline constexpr int kInt4GroupLanes = 64;

// One half (K or V) of a tile, a sequence of 64-byte vectors of 16 lanes x `Interleave` reduction steps:
//
//   for each block of 32 lanes, for each group of `Interleave` reduction steps, for each half (16 lanes):
//     word[lane] = values of the group's steps, lowest step in the lowest byte
//
// K: lanes are the tile's tokens, the reduction runs over the kept channels in ascending order.
// V: lanes are the kept channels in ascending order, the reduction runs over the tile's tokens.
// Lanes are padded to a multiple of 32 and reduction steps to a multiple of the interleave, with zeros.
//
// With `bitmap` each vector is stored as a mask of 16 x interleave bits (bit = element in vector order) in
// the mask area and its set elements, back to back, in the value area. Every tile has exactly `nonzeros` of
// them, so sections and tiles have a fixed size; readers need no more than that.
//
// Int8 sections begin with one bfloat16 scale per token: value = int8 x scale[token], int8 in [-127, 127].
//
// Int4 sections put the two halves of a group of steps into one vector: a byte's low four bits belong to the
// first 16 lanes, its high ones to the other 16. They are quantised as in KIVI (arXiv 2402.02750), K per
// channel and V per token, and begin with the scales: for each group of 64 lanes one bfloat16 scale per
// reduction step, then as many bfloat16 zeros: value = number x scale[step] + zero[step], number in [0, 15].
//
// Bitmaps of int4 are different, because a removed element is 0 and not the zero of a group: they begin with
// one bfloat16 scale per token, as int8 does, and value = integer x scale[token], integer in [-7, 7]. Masks
// are those of int8; the value area holds integer + 8, two to a byte, the earlier one in the low four bits,
// without a gap between vectors.
struct TileSection {
  Storage storage;
  bool bitmap;
  int lanes;            // padded
  int reduction;        // padded
  int nonzeros;         // set elements of the tile; all of its rows' channels when not a bitmap
  int row_nonzeros;     // of each token row; 0 where rows may have different numbers of them
  size_t scale_offset;  // from the tile's start; meaningful for integers only
  size_t mask_offset;   // meaningful for bitmaps only
  size_t value_offset;

  bool operator==(const TileSection&) const = default;
  __attribute__((always_inline)) constexpr bool per_token_scales() const {
    return storage == Storage::kInt8 || (storage == Storage::kInt4 && bitmap);
  }
  __attribute__((always_inline)) constexpr bool per_step_scales() const {
    return storage == Storage::kInt4 && !bitmap;
  }
  // The per-step scales of the 64 lanes around `lane`, and their zeros.
  __attribute__((always_inline)) constexpr size_t step_scale_offset(int lane) const {
    return scale_offset + static_cast<size_t>(lane / kInt4GroupLanes) * reduction * 4;
  }
  __attribute__((always_inline)) constexpr size_t step_zero_offset(int lane) const {
    return step_scale_offset(lane) + static_cast<size_t>(reduction) * 2;
  }
};

struct TileFormat {
  int head_size;
  int key_channels;    // K channels kept, <= head_size
  int value_channels;  // V channels kept, <= head_size
  TileSection key;
  TileSection value;
  size_t stride;  // bytes from tile to tile, a multiple of 64

  bool operator==(const TileFormat&) const = default;
};

// What a tile keeps of its K or V rows.
struct SectionContent {
  Storage storage;
  int channels;      // of every row, 1 to head_size
  int nonzeros;      // set elements among them, of all 64 rows; 64 * channels: dense
  bool even = true;  // as many in every row
};

TileFormat MakeTileFormat(int head_size, const SectionContent& key, const SectionContent& value);
// Every row alike, no V channel removed. key_nonzeros counts set elements per token among the kept channels
// (key_nonzeros == key_channels: dense), value_nonzeros among all channels (value_nonzeros == head_size:
// dense).
TileFormat MakeTileFormat(int head_size, int key_channels, Storage key_storage, int key_nonzeros,
                          Storage value_storage, int value_nonzeros);
// Floats, nothing removed but whole channels.
TileFormat FloatTileFormat(int head_size, int key_channels, int value_channels);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_TILE_FORMAT_H_
