#include "kernels/gather_rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

// A buffer that ends with the tile.
using Tile = std::vector<uint8_t>;

struct Unpacked {
  std::vector<float> keys;
  std::vector<float> values;
};

Unpacked Unpack(const TileData& data, const uint8_t* tile) {
  const size_t elements = static_cast<size_t>(kTileTokens) * data.format.head_size;
  Unpacked rows{std::vector<float>(elements), std::vector<float>(elements)};
  UnpackTile(data.format, tile, data.channels.data(), data.value_channels.data(), rows.keys.data(),
             rows.values.data());
  return rows;
}

void ExpectRow(const std::vector<float>& actual, int row, const std::vector<float>& expected, int from,
               int size) {
  ASSERT_EQ(std::memcmp(actual.data() + row * size, expected.data() + from * size, size * sizeof(float)), 0)
      << "row " << row << " of " << from;
}

TEST(GatherRows, ReadAsBeforeHoweverOftenTheyMove) {
  std::mt19937 random(61);
  constexpr int kTiles = 3;
  for (const int head_size : {8, 96})
    for (const TileCase& tile_case : TileCases(head_size)) {
      SCOPED_TRACE(tile_case.Name());
      const TileData data(tile_case, kTiles, &random);
      if (!RowsCanMove(data.format)) {
        EXPECT_EQ(tile_case.key_storage, Storage::kInt4);
        continue;
      }
      std::vector<Unpacked> source;
      for (int i = 0; i < kTiles; ++i) source.push_back(Unpack(data, data.tile(i)));
      // 64 of 192 rows in their order, then shuffled again and again.
      std::vector<int> origin(kTiles * kTileTokens);
      std::iota(origin.begin(), origin.end(), 0);
      std::shuffle(origin.begin(), origin.end(), random);
      origin.resize(kTileTokens);
      std::sort(origin.begin(), origin.end());
      TileRow rows[kTileTokens];
      for (int i = 0; i < kTileTokens; ++i)
        rows[i] = {data.tile(origin[i] / kTileTokens), origin[i] % kTileTokens};
      Tile tile(data.format.stride, 0xff), moved(data.format.stride, 0xff);
      GatherRows(data.format, rows, tile.data());
      for (int turn = 0; turn < 3; ++turn) {
        const Unpacked read = Unpack(data, tile.data());
        for (int i = 0; i < kTileTokens; ++i) {
          const Unpacked& from = source[origin[i] / kTileTokens];
          ExpectRow(read.keys, i, from.keys, origin[i] % kTileTokens, head_size);
          ExpectRow(read.values, i, from.values, origin[i] % kTileTokens, head_size);
        }
        std::vector<int> order(kTileTokens), next(kTileTokens);
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random);
        for (int i = 0; i < kTileTokens; ++i) {
          rows[i] = {tile.data(), order[i]};
          next[i] = origin[order[i]];
        }
        GatherRows(data.format, rows, moved.data());
        std::swap(tile, moved);
        origin = next;
      }
    }
}

TEST(GatherRows, OfOneTileInOrderAreTheTile) {
  std::mt19937 random(62);
  for (const TileCase& tile_case : TileCases(64)) {
    const TileData data(tile_case, 1, &random);
    if (!RowsCanMove(data.format)) continue;
    TileRow rows[kTileTokens];
    for (int i = 0; i < kTileTokens; ++i) rows[i] = {data.tile(0), i};
    Tile tile(data.format.stride, 0xff);
    GatherRows(data.format, rows, tile.data());
    EXPECT_EQ(std::memcmp(tile.data(), data.tile(0), tile.size()), 0) << tile_case.Name();
  }
}

// A 4-bit K without a bitmap shares scales between tokens; per-channel rows differ in their elements.
TEST(GatherRows, AreNotForTilesWhoseRowsMeanLessAlone) {
  const auto format = [](Storage key, Storage value, int nonzeros, bool even) {
    return MakeTileFormat(64, {key, 64, nonzeros, even}, {value, 64, nonzeros, even});
  };
  constexpr int kAll = 64 * 64;
  EXPECT_FALSE(RowsCanMove(format(Storage::kInt4, Storage::kInt4, kAll, true)));
  EXPECT_TRUE(RowsCanMove(format(Storage::kInt8, Storage::kInt4, kAll, false)));
  EXPECT_TRUE(RowsCanMove(format(Storage::kInt4, Storage::kInt4, kAll / 2, true)));
  EXPECT_FALSE(RowsCanMove(format(Storage::kInt8, Storage::kInt8, kAll / 2, false)));
}

}  // namespace
}  // namespace kvprune
