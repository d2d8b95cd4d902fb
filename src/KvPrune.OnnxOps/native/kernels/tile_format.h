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

enum class Storage : uint8_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2 };

constexpr size_t ElementBytes(Storage storage) {
  return storage == Storage::kFloat32 ? 4 : storage == Storage::kBFloat16 ? 2 : 1;
}

// Consecutive reduction steps that share a lane's 32-bit word.
constexpr int Interleave(Storage storage) {
  return static_cast<int>(4 / ElementBytes(storage));
}

// One half (K or V) of a tile, a sequence of 64-byte vectors of 16 lanes x `Interleave` reduction steps:
//
//   for each block of 32 lanes, for each group of `Interleave` reduction steps, for each half (16 lanes):
//     word[lane] = values of the group's steps, lowest step in the lowest byte
//
// K: lanes are the tile's tokens, the reduction runs over the kept channels in ascending order.
// V: lanes are the head's channels, the reduction runs over the tile's tokens.
// Lanes are padded to a multiple of 32 and reduction steps to a multiple of the interleave, with zeros.
//
// With `bitmap` each vector is stored as a mask of 16 x interleave bits (bit = element in vector order) in
// the mask area and its set elements, back to back, in the value area. Every token row has exactly
// `row_nonzeros` set elements, so sections and tiles have a fixed size.
//
// Int8 sections begin with one bfloat16 scale per token: value = int8 x scale[token], int8 in [-127, 127].
struct TileSection {
  Storage storage;
  bool bitmap;
  int lanes;            // padded
  int reduction;        // padded
  int row_nonzeros;     // set elements of a token row; the row's channels when not a bitmap
  size_t scale_offset;  // from the tile's start; meaningful for int8 only
  size_t mask_offset;   // meaningful for bitmaps only
  size_t value_offset;
};

struct TileFormat {
  int head_size;
  int key_channels;  // K channels kept, <= head_size
  TileSection key;
  TileSection value;
  size_t stride;  // bytes from tile to tile, a multiple of 64
};

// key_nonzeros counts set elements per token among the kept channels (key_nonzeros == key_channels: dense),
// value_nonzeros among all channels (value_nonzeros == head_size: dense).
TileFormat MakeTileFormat(int head_size, int key_channels, Storage key_storage, int key_nonzeros,
                          Storage value_storage, int value_nonzeros);
// Floats, nothing removed but whole K channels.
TileFormat FloatTileFormat(int head_size, int key_channels);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_TILE_FORMAT_H_
