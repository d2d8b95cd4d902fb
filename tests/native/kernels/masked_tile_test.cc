#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

using MaskedTileTest = KernelTest;
KVPRUNE_ALL_KERNELS(MaskedTileTest);

// Per channel, `kept` of every 32 tokens in a row.
oracle::Mask ChannelMask(int channels, int kept, std::mt19937* random) {
  oracle::Mask mask(kTileTokens, std::vector<uint8_t>(channels));
  for (int channel = 0; channel < channels; ++channel)
    for (int first = 0; first < kTileTokens; first += 32) {
      std::vector<int> tokens(32);
      std::iota(tokens.begin(), tokens.end(), first);
      std::shuffle(tokens.begin(), tokens.end(), *random);
      for (int i = 0; i < kept; ++i) mask[tokens[i]][channel] = 1;
    }
  return mask;
}

// `kept` elements anywhere: whole rows and channels may be empty or full.
oracle::Mask AnyMask(int channels, int kept, std::mt19937* random) {
  std::vector<uint8_t> elements(static_cast<size_t>(kTileTokens) * channels);
  std::fill_n(elements.begin(), kept, uint8_t{1});
  // The first rows stay full and the last ones empty.
  std::shuffle(elements.begin() + 2 * channels, elements.end() - 2 * channels, *random);
  oracle::Mask mask;
  for (int token = 0; token < kTileTokens; ++token)
    mask.emplace_back(elements.begin() + token * channels, elements.begin() + (token + 1) * channels);
  return mask;
}

int Count(const oracle::Mask& mask) {
  int count = 0;
  for (const auto& row : mask)
    count += static_cast<int>(std::count_if(row.begin(), row.end(), [](uint8_t x) { return x != 0; }));
  return count;
}

// Some channels of 64 rows.
Rows Gather(const Rows& rows, const std::vector<uint8_t>& channels) {
  Rows gathered;
  for (const auto& row : rows) {
    gathered.emplace_back();
    for (const uint8_t channel : channels) gathered.back().push_back(row[channel]);
  }
  return gathered;
}

// The mask over all of the head's channels; what is said of removed ones must not matter.
std::vector<uint8_t> Scatter(const oracle::Mask& mask, const std::vector<uint8_t>& channels, int head_size) {
  std::vector<uint8_t> all(static_cast<size_t>(kTileTokens) * head_size, 7);
  for (int token = 0; token < kTileTokens; ++token)
    for (size_t i = 0; i < channels.size(); ++i)
      all[token * head_size + channels[i]] = mask[token][i] != 0 ? 255 : 0;
  return all;
}

struct MaskedTile {
  MaskedTile(int head_size, Storage key_storage, const oracle::Mask& key_mask, Storage value_storage,
             const oracle::Mask& value_mask, std::mt19937* random)
      : channels(EvenChannels(static_cast<int>(key_mask[0].size()), head_size)),
        value_channels(EvenChannels(static_cast<int>(value_mask[0].size()), head_size)),
        format(MakeTileFormat(head_size, {key_storage, static_cast<int>(channels.size()), Count(key_mask)},
                              {value_storage, static_cast<int>(value_channels.size()), Count(value_mask)})),
        bytes(static_cast<uint8_t*>(std::aligned_alloc(64, format.stride + kOverreadBytes))) {
    const Rows keys = RandomRows(kTileTokens, head_size, random),
               values = RandomRows(kTileTokens, head_size, random);
    EXPECT_TRUE(PackMaskedTile(format, Flatten(keys).data(), Flatten(values).data(), head_size,
                               channels.data(), value_channels.data(),
                               Scatter(key_mask, channels, head_size).data(),
                               Scatter(value_mask, value_channels, head_size).data(), bytes.get()));
    stored_keys = oracle::StoredTile(Gather(keys, channels), {key_storage, 0, true}, &key_mask);
    stored_values =
        oracle::StoredTile(Gather(values, value_channels), {value_storage, 0, false}, &value_mask);
  }

  std::vector<uint8_t> channels, value_channels;
  TileFormat format;
  std::vector<std::vector<double>> stored_keys, stored_values;
  std::unique_ptr<uint8_t[], TileData::Free> bytes;
};

template <class Visit>
void ForEachTile(const Visit& visit) {
  std::mt19937 random(61);
  for (const int head_size : {8, 40, 64, 96, 128, 256})
    for (int i = 0; i < 15; ++i) {
      const int key_channels = head_size - (i % 3 == 2 ? head_size / 3 : 0);
      const int value_channels = head_size - (i % 3 == 1 ? head_size / 3 : 0);
      const auto mask = [&](int channels, int which) {
        return which % 3 == 0   ? ChannelMask(channels, 1 + which * 2, &random)
               : which % 3 == 1 ? AnyMask(channels, 2 * channels + 17 * channels + 1, &random)
                                : ChannelMask(channels, 31, &random);
      };
      const MaskedTile tile(head_size, kStorages[i % 5], mask(key_channels, i % 7), kStorages[i / 3 % 5],
                            mask(value_channels, i % 4), &random);
      SCOPED_TRACE(testing::Message() << "head size " << head_size << ", case " << i);
      visit(tile, &random);
      if (testing::Test::HasFailure()) return;
    }
}

TEST(PackMaskedTile, HoldsExactlyWhatTheMasksKeep) {
  ForEachTile([](const MaskedTile& tile, std::mt19937*) {
    const int head_size = tile.format.head_size;
    std::vector<float> keys(kTileTokens * head_size, -1), values(kTileTokens * head_size, -1);
    UnpackTile(tile.format, tile.bytes.get(), tile.channels.data(), tile.value_channels.data(), keys.data(),
               values.data());
    for (int token = 0; token < kTileTokens; ++token) {
      std::vector<float> expected_keys(head_size), expected_values(head_size);
      for (size_t i = 0; i < tile.channels.size(); ++i)
        expected_keys[tile.channels[i]] = static_cast<float>(tile.stored_keys[token][i]);
      for (size_t i = 0; i < tile.value_channels.size(); ++i)
        expected_values[tile.value_channels[i]] = static_cast<float>(tile.stored_values[token][i]);
      for (int i = 0; i < head_size; ++i) {
        ASSERT_EQ(keys[token * head_size + i], expected_keys[i]) << "K, token " << token << ", channel " << i;
        ASSERT_EQ(values[token * head_size + i], expected_values[i])
            << "V, token " << token << ", channel " << i;
      }
    }
  });
}

TEST_P(MaskedTileTest, AttentionAgreesWithTheOracle) {
  const std::string kernels = GetParam();
  const double tolerance = kernels == "avx512_bf16" ? 1e-2 : kernels == "scalar" ? 2e-5 : 1e-3;
  ForEachTile([&](const MaskedTile& tile, std::mt19937* random) {
    const int query_rows = 1 + static_cast<int>((*random)() % kMaxQueryRows);
    Rows queries = RandomRows(query_rows, tile.format.key_channels, random);
    for (auto& row : queries)
      for (float& x : row) x *= 1.5f / std::sqrt(static_cast<float>(tile.format.key_channels));
    AttentionState state;
    state.Reset(query_rows, tile.format.value_channels);
    Kernels().attend_tiles(tile.format, tile.bytes.get(), 1, Flatten(queries).data(), query_rows, nullptr, 0,
                           &state);
    const std::vector<RowRange> seen(query_rows, {0, kTileTokens});
    const auto expected = Expected(queries, tile.stored_keys, tile.stored_values, seen, 0);
    EXPECT_LE(RelativeError(state, tile.format.value_channels, expected), tolerance);
    EXPECT_LE(LogSumError(state, expected), LogSumTolerance(tolerance));
  });
}

TEST_P(MaskedTileTest, ExpandsToWhatItHolds) {
  ForEachTile([](const MaskedTile& tile, std::mt19937*) {
    const TileFormat format =
        FloatTileFormat(tile.format.head_size, tile.format.key_channels, tile.format.value_channels);
    const std::unique_ptr<uint8_t[], TileData::Free> expanded(
        static_cast<uint8_t*>(std::aligned_alloc(64, format.stride)));
    Kernels().expand_tile(tile.format, tile.bytes.get(), reinterpret_cast<float*>(expanded.get()));
    const int head_size = tile.format.head_size;
    const size_t size = static_cast<size_t>(kTileTokens) * head_size;
    std::vector<float> keys(size), values(size), expected_keys(size), expected_values(size);
    UnpackTile(format, expanded.get(), tile.channels.data(), tile.value_channels.data(), keys.data(),
               values.data());
    UnpackTile(tile.format, tile.bytes.get(), tile.channels.data(), tile.value_channels.data(),
               expected_keys.data(), expected_values.data());
    EXPECT_EQ(keys, expected_keys);
    EXPECT_EQ(values, expected_values);
  });
}

TEST(PackMaskedTile, RefusesMasksOfAnotherCount) {
  std::mt19937 random(62);
  const oracle::Mask mask = ChannelMask(64, 10, &random);
  const std::vector<float> rows(kTileTokens * 64, 1.0f);
  const std::vector<uint8_t> channels = EvenChannels(64, 64), elements = Scatter(mask, channels, 64);
  for (const int wrong : {-1, 1}) {
    for (const bool in_keys : {true, false}) {
      const int count = Count(mask) + wrong;
      const TileFormat format = MakeTileFormat(64, {Storage::kInt4, 64, in_keys ? count : 64 * 64},
                                               {Storage::kInt4, 64, in_keys ? 64 * 64 : count});
      std::vector<uint8_t> tile(format.stride);
      EXPECT_FALSE(PackMaskedTile(format, rows.data(), rows.data(), 64, channels.data(), nullptr,
                                  elements.data(), elements.data(), tile.data()));
    }
  }
}

}  // namespace
}  // namespace kvprune
