#include "cache/tile_walk.h"

#include <cmath>

#include "cache/ragged_fixture.h"
#include "cache/slab_rows.h"

namespace kvprune::test {
namespace {

using TileWalkTest = KernelTest;
KVPRUNE_ALL_KERNELS(TileWalkTest);

constexpr int64_t kSpans[] = {192, 64, 320, 64, 128};

// Slabs whose heads keep different numbers of tokens in different formats, with what the oracle says of them.
struct Ragged {
  static constexpr int kHeads = 4;

  Ragged(int head_size, std::mt19937* random)
      : head_size(head_size), slabs(kHeads), stored(kHeads), tokens(kHeads) {
    for (const int64_t span : kSpans) {
      std::vector<HeadPlan> plans;
      std::vector<Rows> keys, values;
      for (int head = 0; head < kHeads; ++head) {
        // Head 0 keeps every token, head 1 none of the first and of the last slab.
        const bool none = head == 1 && (length == 0 || span == 128);
        const int tiles = head == 0 ? static_cast<int>(span / kTileTokens) : none ? 0 : -1;
        plans.push_back(RandomPlan(head_size, span, tiles, random));
        keys.push_back(RandomRows(static_cast<int>(span), head_size, random));
        values.push_back(RandomRows(static_cast<int>(span), head_size, random));
        StoredRun run = Stored(plans[head], keys[head], values[head]);
        std::move(run.keys.begin(), run.keys.end(), std::back_inserter(stored[head].keys));
        std::move(run.values.begin(), run.values.end(), std::back_inserter(stored[head].values));
        for (const int64_t token : plans[head].kept) tokens[head].push_back(length + token);
      }
      slabs.Add(PackSlab(account, span, plans, keys, values), true);
      length += span;
    }
  }

  int head_size;
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>(0);
  SlabList slabs;
  std::vector<StoredRun> stored;             // per head
  std::vector<std::vector<int64_t>> tokens;  // per head, those that it keeps
  int64_t length = 0;
};

double Tolerance(const std::string& kernels) {
  return kernels == "avx512_bf16" ? 1e-2 : kernels == "scalar" ? 2e-5 : 1e-3;
}

TEST_P(TileWalkTest, HeadsThatKeepDifferentTokensAgreeWithTheOracle) {
  std::mt19937 random(51);
  for (const int head_size : {64, 96, 128, 160}) {
    const Ragged ragged(head_size, &random);
    for (int head = 0; head < Ragged::kHeads; ++head) {
      const int64_t tiles = ragged.slabs.Tiles(head);
      ASSERT_EQ(tiles * kTileTokens, static_cast<int64_t>(ragged.tokens[head].size()));
      for (const int64_t seen_from : {0, 1, 100, 191, 192, 230, 400, 640, 700, 768}) {
        SCOPED_TRACE(testing::Message()
                     << "head size " << head_size << ", head " << head << ", from " << seen_from);
        const int query_rows = 1 + static_cast<int>(random() % kMaxQueryRows);
        Rows queries = RandomRows(query_rows, head_size, &random);
        for (auto& row : queries)
          for (float& x : row) x *= 1.5f / std::sqrt(static_cast<float>(head_size));
        // The rows' windows end one token after another.
        int64_t first_row[kMaxQueryRows];
        std::vector<RowRange> seen;
        for (int r = 0; r < query_rows; ++r) {
          first_row[r] = ragged.slabs.RowsBefore(head, seen_from + r);
          const auto begin =
              std::lower_bound(ragged.tokens[head].begin(), ragged.tokens[head].end(), seen_from + r);
          ASSERT_EQ(first_row[r], begin - ragged.tokens[head].begin());
          seen.push_back({first_row[r], tiles * kTileTokens});
        }
        AttentionState state;
        state.Reset(query_rows, head_size);
        // In two calls, as two tasks would read them.
        const int64_t first = first_row[0] / kTileTokens, half = (tiles - first) / 2;
        AttendSlabs(ragged.slabs, head, first, half, Flatten(queries).data(), query_rows, head_size,
                    first_row, 0, &state);
        AttendSlabs(ragged.slabs, head, first + half, tiles - first - half, Flatten(queries).data(),
                    query_rows, head_size, first_row, 0, &state);
        if (first_row[0] == tiles * kTileTokens) {
          for (int r = 0; r < query_rows; ++r) EXPECT_EQ(state.sum[r], 0);
          continue;
        }
        const auto expected =
            Expected(queries, ragged.stored[head].keys, ragged.stored[head].values, seen, 0);
        EXPECT_LE(RelativeError(state, head_size, expected), Tolerance(GetParam()));
        EXPECT_LE(LogSumError(state, expected), LogSumTolerance(Tolerance(GetParam())));
      }
    }
  }
}

TEST(SlabList, FindsEveryTileOfEveryHead) {
  std::mt19937 random(52);
  const Ragged ragged(32, &random);
  for (int head = 0; head < Ragged::kHeads; ++head) {
    EXPECT_EQ(ragged.slabs.Find(head, ragged.slabs.Tiles(head)), ragged.slabs.size());
    int64_t tile = 0;
    for (size_t i = 0; i < ragged.slabs.size(); ++i) {
      EXPECT_EQ(ragged.slabs.FirstTile(head, i), tile);
      for (int64_t end = tile + ragged.slabs[i].slab->tiles(head); tile < end; ++tile)
        EXPECT_EQ(ragged.slabs.Find(head, tile), i);
    }
  }
}

TEST(SlabRows, ReadsZerosForEvictedTokens) {
  std::mt19937 random(53);
  const Ragged ragged(40, &random);
  for (int head = 0; head < Ragged::kHeads; ++head) {
    std::vector<float> keys(ragged.length * 40, -1), values(ragged.length * 40, -1);
    std::vector<uint8_t> kept(ragged.length, 2);
    ReadSlabs(ragged.slabs, head, 40, ragged.length, keys.data(), values.data());
    ReadKeptTokens(ragged.slabs, head, ragged.length, kept.data());
    size_t row = 0;
    for (int64_t token = 0; token < ragged.length; ++token) {
      const bool expected = row < ragged.tokens[head].size() && ragged.tokens[head][row] == token;
      ASSERT_EQ(kept[token], expected ? 1 : 0) << token;
      for (int i = 0; i < 40; ++i) {
        ASSERT_EQ(keys[token * 40 + i],
                  expected ? static_cast<float>(ragged.stored[head].keys[row][i]) : 0.0f);
        ASSERT_EQ(values[token * 40 + i],
                  expected ? static_cast<float>(ragged.stored[head].values[row][i]) : 0.0f);
      }
      row += expected ? 1 : 0;
    }
  }
}

TEST(TileSlab, TakesTheBytesOfItsParts) {
  const auto account = std::make_shared<MemoryAccount>(0);
  const TileFormat narrow = MakeTileFormat(96, {Storage::kInt8, 50, 64 * 50}, {Storage::kInt4, 70, 64 * 30});
  const TileFormat full = MakeTileFormat(96, 96, Storage::kBFloat16, 96, Storage::kBFloat16, 96);
  const HeadRun heads[] = {{narrow, 3, true}, {full, 10}, {narrow, 0, true}, {narrow, 10}};
  // Three heads have V channels, two a bitmap of 640 tokens.
  const int64_t exact = static_cast<int64_t>(13 * narrow.stride + 10 * full.stride + kOverreadBytes) +
                        2 * 80 + 3 * 50 + 96 + 3 * 70;
  EXPECT_EQ(TileSlab::Bytes(640, heads), (exact + 63) / 64 * 64);
  std::shared_ptr<TileSlab> slab;
  ASSERT_TRUE(TileSlab::Create(account, 640, heads, &slab).ok());
  EXPECT_EQ(account->InUse(MemoryUse::kSealed), TileSlab::Bytes(640, heads));
  EXPECT_EQ(slab->bytes(), TileSlab::Bytes(640, heads));
  EXPECT_EQ(slab->tokens(), 640);
  EXPECT_EQ(slab->value_channels(1), nullptr);
  EXPECT_EQ(slab->kept(3), nullptr);
  // What is written last ends within the slab (and nothing overlaps, or the walk's tests would see it).
  EXPECT_LE(slab->value_channels(3) + 70, slab->tile(0, 0) + slab->bytes());
  slab.reset();
  EXPECT_EQ(account->InUse(MemoryUse::kSealed), 0);
}

}  // namespace
}  // namespace kvprune::test
