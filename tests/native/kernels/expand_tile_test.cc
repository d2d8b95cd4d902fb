#include "kernels/fixture.h"

namespace kvprune {
namespace {

using ExpandTileTest = KernelTest;
KVPRUNE_ALL_KERNELS(ExpandTileTest);

// Aligned, and not a byte longer than the tile.
struct Expanded {
  explicit Expanded(const TileFormat& format)
      : floats(static_cast<float*>(std::aligned_alloc(64, format.stride))) {}
  struct Free {
    void operator()(float* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<float[], Free> floats;
};

// Element `step` of `lane` in a dense float section, as tile_format.h lays it out.
float At(const TileSection& section, const float* tile, int lane, int step) {
  const float* block = tile + section.value_offset / 4 + lane / kBlockLanes * kBlockLanes * section.reduction;
  return block[step * kBlockLanes + lane % kBlockLanes];
}

TEST_P(ExpandTileTest, ReadsWhatTheTileHolds) {
  std::mt19937 random(41);
  for (int head_size : {8, 40, 64, 128, 256}) {
    for (const TileCase& tile_case : TileCases(head_size)) {
      SCOPED_TRACE(tile_case.Name());
      const TileData data(tile_case, 1, &random);
      const TileFormat format =
          FloatTileFormat(head_size, tile_case.key_channels, tile_case.value_channels());
      const Expanded tile(format);
      Kernels().expand_tile(data.format, data.tile(0), tile.floats.get());
      for (int token = 0; token < kTileTokens; ++token) {
        for (int i = 0; i < tile_case.key_channels; ++i)
          ASSERT_FLOAT_EQ(At(format.key, tile.floats.get(), token, i),
                          static_cast<float>(data.stored_keys[token][i]))
              << token << ' ' << i;
        for (int i = 0; i < format.value.lanes; ++i)
          ASSERT_FLOAT_EQ(
              At(format.value, tile.floats.get(), i, token),
              i < tile_case.value_channels() ? static_cast<float>(data.stored_values[token][i]) : 0.0f)
              << token << ' ' << i;
      }
    }
  }
}

TEST_P(ExpandTileTest, TakesRowsAsTheyAre) {
  std::mt19937 random(42);
  for (int head_size : {8, 40, 64, 128, 256}) {
    for (int count : {1, 15, 16, 17, 33, 63, 64}) {
      SCOPED_TRACE("head size " + std::to_string(head_size) + ", rows " + std::to_string(count));
      const Rows keys = RandomRows(count, head_size, &random);
      const Rows values = RandomRows(count, head_size, &random);
      const TileFormat format = FloatTileFormat(head_size, head_size, head_size);
      const Expanded tile(format);
      Kernels().expand_rows(Flatten(keys).data(), Flatten(values).data(), count, head_size,
                            tile.floats.get());
      for (int token = 0; token < kTileTokens; ++token) {
        for (int i = 0; i < head_size; ++i)
          ASSERT_EQ(At(format.key, tile.floats.get(), token, i), token < count ? keys[token][i] : 0.0f);
        for (int i = 0; i < format.value.lanes; ++i)
          ASSERT_EQ(At(format.value, tile.floats.get(), i, token),
                    token < count && i < head_size ? values[token][i] : 0.0f);
      }
    }
  }
}

}  // namespace
}  // namespace kvprune
