#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

using PackTileTest = KernelTest;
KVPRUNE_ALL_KERNELS(PackTileTest);

struct Unpacked {
  std::vector<float> keys, values;
};

Unpacked Unpack(const TileData& data, int index) {
  const size_t size = static_cast<size_t>(kTileTokens) * data.format.head_size;
  Unpacked rows{std::vector<float>(size, -1), std::vector<float>(size, -1)};
  UnpackTile(data.format, data.tile(index), data.channels.data(), data.value_channels.data(),
             rows.keys.data(), rows.values.data());
  return rows;
}

// Every element, so the kept sets too, must be what the oracle says.
void ExpectStoredExactly(const TileData& data) {
  const int head_size = data.format.head_size;
  const Unpacked rows = Unpack(data, 0);
  for (int token = 0; token < kTileTokens; ++token) {
    std::vector<float> keys(head_size, 0), values(head_size, 0);
    for (int i = 0; i < data.format.key_channels; ++i) {
      keys[data.channels[i]] = static_cast<float>(data.stored_keys[token][i]);
    }
    for (int i = 0; i < data.format.value_channels; ++i) {
      values[data.value_channels[i]] = static_cast<float>(data.stored_values[token][i]);
    }
    for (int channel = 0; channel < head_size; ++channel) {
      const int at = token * head_size + channel;
      ASSERT_EQ(rows.keys[at], keys[channel]) << "K, token " << token << ", channel " << channel;
      ASSERT_EQ(rows.values[at], values[channel]) << "V, token " << token << ", channel " << channel;
    }
  }
}

TEST_P(PackTileTest, HoldsExactlyWhatTheOracleKeeps) {
  std::mt19937 random(1);
  for (int head_size : {64, 96, 128}) {
    for (const TileCase& tile_case : TileCases(head_size)) {
      SCOPED_TRACE(tile_case.Name());
      ExpectStoredExactly(TileData(tile_case, 1, &random));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(PackTileTest, TakesEveryHeadSizeAndNonzeroCount) {
  std::mt19937 random(2);
  for (int head_size : {8, 16, 40, 80, 104, 160, 256}) {
    for (int i = 0; i < 20; ++i) {
      const int channels = std::uniform_int_distribution<int>(1, head_size)(random);
      const int key_nonzeros = std::uniform_int_distribution<int>(1, channels)(random);
      const int removed = i % 4 == 3 ? std::uniform_int_distribution<int>(0, head_size - 1)(random) : 0;
      const int value_nonzeros = std::uniform_int_distribution<int>(1, head_size - removed)(random);
      const TileCase tile_case{head_size,
                               channels,
                               kStorages[i % 5],
                               i % 2 == 0 ? channels : key_nonzeros,
                               kStorages[(i / 2 + 1) % 5],
                               i % 3 == 0 ? head_size - removed : value_nonzeros,
                               removed};
      SCOPED_TRACE(tile_case.Name());
      ExpectStoredExactly(TileData(tile_case, 1, &random));
      if (HasFatalFailure()) return;
    }
  }
}

// One tile of chosen rows, packed with a row stride beyond the head size and unpacked again.
Unpacked RoundTrip(const TileCase& tile_case, const std::vector<float>& row) {
  const TileFormat format = tile_case.Format();
  const size_t stride = tile_case.head_size + 3;
  std::vector<float> rows(kTileTokens * stride, std::numeric_limits<float>::max());
  for (int token = 0; token < kTileTokens; ++token)
    std::copy(row.begin(), row.end(), rows.begin() + token * stride);
  std::vector<uint8_t> tile(format.stride + kOverreadBytes);
  const std::vector<uint8_t> channels = EvenChannels(tile_case.key_channels, tile_case.head_size);
  Kernels().pack_tile(format, rows.data(), rows.data(), stride, channels.data(), nullptr, tile.data());
  const size_t size = static_cast<size_t>(kTileTokens) * tile_case.head_size;
  Unpacked unpacked{std::vector<float>(size), std::vector<float>(size)};
  UnpackTile(format, tile.data(), channels.data(), nullptr, unpacked.keys.data(), unpacked.values.data());
  return unpacked;
}

TEST_P(PackTileTest, KeepsTheLowerChannelsOfEqualMagnitudes) {
  for (Storage storage : kStorages) {
    for (int head_size : {64, 96, 128}) {
      std::vector<float> row(head_size);
      for (int i = 0; i < head_size; ++i) row[i] = i % 2 == 0 ? 1.0f : -1.0f;
      row[head_size - 1] = 2;
      row[1] = 0.5f;
      const int kept = head_size / 2 + 1;
      const Unpacked rows = RoundTrip({head_size, head_size, storage, kept, storage, kept}, row);
      for (int token = 0; token < kTileTokens; ++token) {
        for (int channel = 0; channel < head_size; ++channel) {
          // The 2, then the first kept - 1 of the ones, which skip channel 1.
          const bool expected = channel == head_size - 1 || (channel != 1 && channel <= kept - 1);
          ASSERT_EQ(rows.values[token * head_size + channel] != 0, expected) << channel;
          ASSERT_EQ(rows.keys[token * head_size + channel] != 0, expected) << channel;
        }
      }
    }
  }
}

TEST_P(PackTileTest, KeepsZeroRowsZeroAndTinyRowsFinite) {
  for (Storage storage : kStorages) {
    for (float value : {0.0f, std::numeric_limits<float>::denorm_min(), 1e-38f}) {
      const Unpacked rows = RoundTrip({64, 64, storage, 32, storage, 64}, std::vector<float>(64, value));
      for (float stored : rows.values) ASSERT_NEAR(stored, value, 1.2e-38f);
      for (float stored : rows.keys) ASSERT_LE(std::abs(stored), 1.2e-38f);
    }
  }
}

TEST_P(PackTileTest, LeavesNotANumberVisible) {
  for (Storage storage : kStorages) {
    for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      std::vector<float> row(64, 1.0f);
      row[50] = bad;
      for (int nonzeros : {8, 64}) {
        const Unpacked rows = RoundTrip({64, 64, storage, nonzeros, storage, nonzeros}, row);
        for (int token = 0; token < kTileTokens; ++token) {
          ASSERT_FALSE(std::isfinite(rows.keys[token * 64 + 50]));
          ASSERT_FALSE(std::isfinite(rows.values[token * 64 + 50]));
        }
      }
    }
  }
}

// Groups far from zero, of equal values, of huge and of tiny ones.
TEST_P(PackTileTest, Int4IsOffByAtMostHalfAScale) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> uniform(-1, 1);
  const float cases[][2] = {{0, 1},     {100, 1},       {-100, 1},   {-7, 0},
                            {0, 1e38f}, {3e37f, 1e30f}, {0, 1e-36f}, {-1e-38f, 1e-39f}};
  for (const auto& [middle, spread] : cases) {
    SCOPED_TRACE(testing::Message() << middle << " +- " << spread);
    std::vector<float> row(96);
    for (float& value : row) value = middle + spread * uniform(random);
    const Unpacked rows = RoundTrip({96, 96, Storage::kInt4, 96, Storage::kInt4, 96}, row);
    // All rows are equal: a channel's group has one value, a row's groups are channels 0-63 and 64-95.
    for (int channel = 0; channel < 96; ++channel) {
      // Rounding the zero down widens a group by up to 1/128 of it.
      const float wide = 2 * spread + std::abs(middle) / 64;
      ASSERT_NEAR(rows.values[channel], row[channel], wide / 15 * 0.51f + 1.2e-38f)
          << "V, channel " << channel;
      ASSERT_NEAR(rows.keys[channel], row[channel], std::abs(row[channel]) / 128 / 15 + 1.2e-38f)
          << "K, channel " << channel;
    }
  }
}

TEST_P(PackTileTest, Int4RangesBeyondFloatsReadAsNotANumber) {
  std::vector<float> row(64, -3e38f);
  row[9] = 3e38f;
  const Unpacked rows = RoundTrip({64, 64, Storage::kInt4, 64, Storage::kInt4, 64}, row);
  EXPECT_TRUE(std::isnan(rows.values[0]));
  EXPECT_NEAR(rows.keys[9], 3e38f, 3e38f / 1000);
}

TEST_P(PackTileTest, MakesTheSameBytesAsTheScalarKernels) {
  const int stride_gap = 5;
  std::mt19937 random(3);
  for (int head_size : {40, 96}) {
    for (const TileCase& tile_case : TileCases(head_size)) {
      SCOPED_TRACE(tile_case.Name());
      const TileFormat format = tile_case.Format();
      const std::vector<float> rows = Flatten(RandomRows(kTileTokens, head_size + stride_gap, &random));
      const std::vector<uint8_t> channels = EvenChannels(tile_case.key_channels, head_size);
      const std::vector<uint8_t> value_channels = EvenChannels(tile_case.value_channels(), head_size);
      const auto pack = [&](const char* kernels, uint8_t before) {
        std::vector<uint8_t> tile(format.stride, before);
        EXPECT_TRUE(UseKernels(kernels));
        Kernels().pack_tile(format, rows.data(), rows.data(), head_size + stride_gap, channels.data(),
                            value_channels.data(), tile.data());
        return tile;
      };
      ASSERT_EQ(pack("scalar", 0x11), pack(GetParam(), 0x22));
    }
  }
}

}  // namespace
}  // namespace kvprune
