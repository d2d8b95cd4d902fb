#include <cmath>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

using AttendTilesTest = KernelTest;
KVPRUNE_ALL_KERNELS(AttendTilesTest);

// Float arithmetic; native bfloat16 rounds queries and weights to 8 bits; int8 and int4 round them to 15 and
// 16.
double Tolerance(const TileCase& tile_case, const std::string& kernels) {
  const auto uses = [&](Storage storage) {
    return tile_case.key_storage == storage || tile_case.value_storage == storage;
  };
  if (kernels == "avx512_bf16" && uses(Storage::kBFloat16)) return 1e-2;
  if (kernels == "scalar") return 2e-5;
  if (uses(Storage::kInt8) || uses(Storage::kInt4)) return 1e-3;
  return 2e-5;
}

// Rows of [query_rows][key_channels] whose logits spread over several units.
Rows RandomQueries(int query_rows, int key_channels, std::mt19937* random) {
  Rows queries = RandomRows(query_rows, key_channels, random);
  for (auto& row : queries) {
    for (float& value : row) value *= 1.5f / std::sqrt(static_cast<float>(key_channels));
  }
  return queries;
}

std::vector<oracle::Output> ExpectedOfAll(const TileData& data, int tile_count, const Rows& queries) {
  const auto tokens = tile_count * kTileTokens;
  const std::vector<std::vector<double>> keys(data.stored_keys.begin(), data.stored_keys.begin() + tokens);
  const std::vector<std::vector<double>> values(data.stored_values.begin(),
                                                data.stored_values.begin() + tokens);
  std::vector<oracle::Output> expected;
  for (const auto& query : queries) {
    expected.push_back(oracle::Attend(std::vector<double>(query.begin(), query.end()), keys, values));
  }
  return expected;
}

void ExpectOracle(const TileData& data, int tile_count, int query_rows, double tolerance,
                  std::mt19937* random) {
  SCOPED_TRACE(data.tile_case.Name() + ", query rows " + std::to_string(query_rows) + ", tiles " +
               std::to_string(tile_count));
  const Rows queries = RandomQueries(query_rows, data.format.key_channels, random);
  AttentionState state;
  state.Reset(query_rows, data.format.value_channels);
  // The last tiles, so that reading past them leaves the buffer.
  const int total = static_cast<int>(data.keys.size()) / kTileTokens;
  Kernels().attend_tiles(data.format, data.tile(0), total - tile_count, Flatten(queries).data(), query_rows,
                         nullptr, 0, &state);
  Kernels().attend_tiles(data.format, data.tile(total - tile_count), tile_count, Flatten(queries).data(),
                         query_rows, nullptr, 0, &state);
  const auto expected = ExpectedOfAll(data, total, queries);
  EXPECT_LE(RelativeError(state, data.format.value_channels, expected), tolerance);
  EXPECT_LE(LogSumError(state, expected), LogSumTolerance(tolerance));
}

TEST_P(AttendTilesTest, AgreesWithTheOracleForEveryFormat) {
  std::mt19937 random(11);
  const int query_rows[] = {1, 2, 4, 7, 8};
  for (int head_size : {64, 96, 128}) {
    int next = 0;
    for (const TileCase& tile_case : TileCases(head_size)) {
      const int tile_count = 1 + next % 3;
      const TileData data(tile_case, tile_count, &random);
      // Every row count with the smallest heads, each in turn with the others.
      for (int i = 0; i < 5; ++i) {
        if (head_size > 64 && i != next % 5) continue;
        ExpectOracle(data, tile_count, query_rows[i], Tolerance(tile_case, GetParam()), &random);
      }
      if (HasFailure()) return;
      ++next;
    }
  }
}

TEST_P(AttendTilesTest, TakesEveryHeadSizeAndQueryRowCount) {
  std::mt19937 random(12);
  for (int head_size : {8, 16, 32, 40, 80, 160, 192, 256}) {
    for (int i = 0; i < 15; ++i) {
      const int channels = head_size - i % 7;
      const TileCase tile_case{head_size,
                               channels,
                               kStorages[i % 5],
                               i % 2 == 0 ? channels : channels / 2 + 1,
                               kStorages[i / 3],
                               i % 4 < 2 ? head_size - i % 3 : head_size / 2,
                               i % 3};
      const TileData data(tile_case, 2, &random);
      for (int query_rows : {3, 5, 6, 8}) {
        ExpectOracle(data, 1, query_rows, Tolerance(tile_case, GetParam()), &random);
      }
      if (HasFailure()) return;
    }
  }
}

// A window's border may lie anywhere in a tile and differ between query rows; a row may see no token at all.
TEST_P(AttendTilesTest, EveryQueryRowSeesItsOwnTokens) {
  std::mt19937 random(16);
  for (Storage storage : kStorages) {
    for (int kept : {64, 24}) {
      const TileCase tile_case{64, 64, storage, kept, storage, kept};
      const TileData data(tile_case, 3, &random);
      for (float softcap : {0.0f, 2.0f}) {
        for (int64_t begin : {-5, 0, 1, 31, 63, 64, 65, 127, 130, 191, 192, 300}) {
          SCOPED_TRACE(tile_case.Name() + ", from " + std::to_string(begin));
          const Rows queries = RandomQueries(5, 64, &random);
          const std::vector<RowRange> seen = {
              {begin, 192}, {begin + 1, 192}, {0, 192}, {begin, begin + 2}, {190, 192}};
          AttentionState state;
          state.Reset(5, 64);
          Kernels().attend_tiles(data.format, data.tile(0), 3, Flatten(queries).data(), 5, seen.data(),
                                 softcap, &state);
          const auto expected = Expected(queries, data.stored_keys, data.stored_values, seen, softcap);
          EXPECT_LE(RelativeError(state, 64, expected), Tolerance(tile_case, GetParam()));
          EXPECT_LE(LogSumError(state, expected), LogSumTolerance(Tolerance(tile_case, GetParam())));
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Lengths around the borders of blocks and tiles and one in between, from the first token and up to the last;
// bitmaps of K meet those of V in the next storage.
TEST_P(AttendTilesTest, TakesLengthsAroundEveryBorder) {
  std::mt19937 random(17);
  const int tiles = 17, tokens = tiles * kTileTokens;
  for (int head_size : {32, 64, 128}) {
    for (int i = 0; i < 5; ++i) {
      for (int kept : {head_size, head_size / 2}) {
        const Storage value = kStorages[kept == head_size ? i : (i + 1) % 5];
        const TileCase tile_case{head_size, head_size, kStorages[i], kept, value, kept};
        const TileData data(tile_case, tiles, &random);
        std::vector<int64_t> lengths = {1, 31, 32, 33, 63, 64, 65, 95, 96, 97, 1023, 1024, 1025};
        lengths.push_back(std::uniform_int_distribution<int64_t>(1, tokens)(random));
        for (int64_t length : lengths) {
          SCOPED_TRACE(tile_case.Name() + ", length " + std::to_string(length));
          const Rows queries = RandomQueries(3, head_size, &random);
          const std::vector<RowRange> seen = {{0, length}, {tokens - length, tokens}, {7, 7 + length}};
          AttentionState state;
          state.Reset(3, head_size);
          Kernels().attend_tiles(data.format, data.tile(0), tiles, Flatten(queries).data(), 3, seen.data(), 0,
                                 &state);
          const auto expected = Expected(queries, data.stored_keys, data.stored_values, seen, 0);
          const double tolerance = Tolerance(tile_case, GetParam());
          EXPECT_LE(RelativeError(state, head_size, expected), tolerance);
          EXPECT_LE(LogSumError(state, expected), LogSumTolerance(tolerance));
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Many small weights beside a large one must not be rounded away.
TEST_P(AttendTilesTest, SmallWeightsKeepTheirShare) {
  for (Storage storage : kStorages) {
    std::vector<float> keys(kTileTokens * 64, 0.0f), values(kTileTokens * 64, 1.0f);
    // One token's weight is 600 times that of each other one, and its values are others.
    keys[20 * 64] = std::log(600.0f);
    for (int channel = 0; channel < 64; ++channel) {
      values[20 * 64 + channel] = -1.0f;
      for (int token = 0; token < kTileTokens; ++token) values[token * 64 + channel] += 1e-3f * channel;
    }
    const TileFormat format = MakeTileFormat(64, 64, storage, 64, storage, 64);
    const std::vector<uint8_t> channels = EvenChannels(64, 64);
    std::vector<uint8_t> tile(format.stride + kOverreadBytes);
    Kernels().pack_tile(format, keys.data(), values.data(), 64, channels.data(), nullptr, tile.data());
    std::vector<float> query(64, 0.0f);
    query[0] = 1;
    AttentionState state;
    state.Reset(1, 64);
    Kernels().attend_tiles(format, tile.data(), 1, query.data(), 1, nullptr, 0, &state);
    float output[64];
    float* rows[] = {output};
    FinishAttention(state, 1, 64, nullptr, rows);
    EXPECT_NEAR(output[0], (63.0 - 600.0) / 663.0, 0.005) << "storage " << static_cast<int>(storage);
  }
}

// A maximum that rises late has to rescale what came before; a lower one must not.
TEST_P(AttendTilesTest, FollowsARunningMaximum) {
  std::mt19937 random(13);
  for (Storage storage : kStorages) {
    const TileCase tile_case{64, 64, storage, 64, storage, 64};
    const TileData data(tile_case, 3, &random);
    // Queries along one stored key give that token a logit far above the others.
    for (int peak : {0, 70, 191}) {
      Rows queries(1, std::vector<float>(64));
      for (int i = 0; i < 64; ++i) queries[0][i] = static_cast<float>(data.stored_keys[peak][i]) * 0.3f;
      AttentionState state;
      state.Reset(1, 64);
      Kernels().attend_tiles(data.format, data.tile(0), 3, queries[0].data(), 1, nullptr, 0, &state);
      EXPECT_LE(RelativeError(state, 64, ExpectedOfAll(data, 3, queries)), Tolerance(tile_case, GetParam()))
          << peak;
    }
  }
}

TEST_P(AttendTilesTest, ZeroQueriesAverageTheValues) {
  std::mt19937 random(14);
  for (Storage storage : kStorages) {
    const TileCase tile_case{64, 40, storage, 20, storage, 32};
    const TileData data(tile_case, 1, &random);
    const Rows queries(2, std::vector<float>(40, 0.0f));
    AttentionState state;
    state.Reset(2, 64);
    Kernels().attend_tiles(data.format, data.tile(0), 1, Flatten(queries).data(), 2, nullptr, 0, &state);
    EXPECT_FLOAT_EQ(state.sum[1], 64);
    EXPECT_LE(RelativeError(state, 64, ExpectedOfAll(data, 1, queries)), Tolerance(tile_case, GetParam()));
  }
}

// A row that cannot be represented must surface in the output, not be averaged away.
TEST_P(AttendTilesTest, NotANumberReachesTheOutput) {
  for (Storage storage : kStorages) {
    for (bool in_keys : {true, false}) {
      for (int nonzeros : {64, 16}) {
        const TileFormat format = MakeTileFormat(64, 64, storage, nonzeros, storage, nonzeros);
        std::vector<float> good(kTileTokens * 64, 0.25f), bad = good;
        bad[37 * 64 + 5] = NAN;
        const std::vector<uint8_t> channels = EvenChannels(64, 64);
        std::vector<uint8_t> tile(format.stride + kOverreadBytes);
        Kernels().pack_tile(format, in_keys ? bad.data() : good.data(), in_keys ? good.data() : bad.data(),
                            64, channels.data(), nullptr, tile.data());
        const std::vector<float> query(64, 0.1f);
        AttentionState state;
        state.Reset(1, 64);
        Kernels().attend_tiles(format, tile.data(), 1, query.data(), 1, nullptr, 0, &state);
        float output[64];
        float* rows[] = {output};
        FinishAttention(state, 1, 64, nullptr, rows);
        EXPECT_TRUE(std::isnan(output[5]))
            << "storage " << static_cast<int>(storage) << ", in keys " << in_keys;
      }
    }
  }
}

TEST_P(AttendTilesTest, AgreesWithTheOtherKernels) {
  std::mt19937 random(15);
  const RowRange parts[] = {{0, 1}, {31, 97}, {0, 128}, {63, 65}};
  for (const TileCase& tile_case : TileCases(64)) {
    const TileData data(tile_case, 2, &random);
    const std::vector<float> queries = Flatten(RandomQueries(4, tile_case.key_channels, &random));
    for (const RowRange* seen : {static_cast<const RowRange*>(nullptr), parts}) {
      SCOPED_TRACE(tile_case.Name() + (seen == nullptr ? ", all tokens" : ", some tokens"));
      const auto attend = [&](const char* kernels) {
        AttentionState state;
        state.Reset(4, tile_case.value_channels());
        EXPECT_TRUE(UseKernels(kernels));
        Kernels().attend_tiles(data.format, data.tile(0), 2, queries.data(), 4, seen, 0, &state);
        return state;
      };
      const AttentionState own = attend(GetParam());
      for (const char* other : kAllKernels) {
        if (!UseKernels(other)) continue;
        ExpectClose(own, attend(other), 4, tile_case.value_channels(),
                    Tolerance(tile_case, GetParam()) + Tolerance(tile_case, other), other);
      }
    }
  }
}

}  // namespace
}  // namespace kvprune
