#include "pruning/worst_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/tile_format.h"

namespace kvprune {
namespace {

// The definition: sorted by score, the later one of equals first.
std::vector<int32_t> Sorted(const std::vector<float>& scores, int64_t begin, int64_t end) {
  std::vector<int32_t> rows(static_cast<size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(begin));
  std::sort(rows.begin(), rows.end(),
            [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] < scores[b] : a > b; });
  return rows;
}

TEST(WorstRows, AreThoseOfTheDefinitionTiesIncluded) {
  std::mt19937 random(71);
  for (int round = 0; round < 200; ++round) {
    const int64_t rows = 64 * static_cast<int64_t>(1 + random() % 12);
    std::vector<float> scores(static_cast<size_t>(rows));
    const unsigned levels = round % 2 == 0 ? 5 : 100000;
    for (float& score : scores) score = static_cast<float>(random() % levels) / 7;
    const int64_t border = static_cast<int64_t>(random() % (rows + 1));
    const int64_t units = static_cast<int64_t>(1 + random() % 4);
    std::vector<uint64_t> order(scores.size());
    std::vector<WorstRows> runs;
    std::vector<std::vector<int32_t>> left;
    for (const auto& [begin, end] : {std::pair{int64_t{0}, border}, std::pair{border, rows}}) {
      const int64_t count = std::min(units, (end - begin) / kTileTokens) * kTileTokens;
      RankWorst(scores.data(), begin, end, count, order.data() + begin);
      runs.emplace_back(order.data() + begin, static_cast<size_t>(count));
      left.push_back(Sorted(scores, begin, end));
    }
    std::vector<int32_t> expected;
    for (int64_t unit = 0; unit < units; ++unit) {
      std::vector<int32_t>* best = nullptr;
      double lowest = 0;
      for (auto& run : left) {
        if (run.size() < kTileTokens) continue;
        double sum = 0;
        for (int i = 0; i < kTileTokens; ++i) sum += static_cast<double>(scores[run[i]]);
        if (best == nullptr || sum < lowest) best = &run, lowest = sum;
      }
      if (best == nullptr) break;
      expected.insert(expected.end(), best->begin(), best->begin() + kTileTokens);
      best->erase(best->begin(), best->begin() + kTileTokens);
    }
    std::sort(expected.begin(), expected.end());
    ASSERT_EQ(TakeWorst(scores.data(), runs, units), expected) << round;
  }
}

TEST(WorstRows, AreTilesWhereRowsStayTogether) {
  std::vector<float> scores(4 * kTileTokens, 1.0f);
  std::fill_n(scores.begin() + kTileTokens, kTileTokens, 0.5f);
  scores[0] = -100;  // of a tile that cannot go
  scores[3 * kTileTokens] = -1;
  std::vector<uint64_t> order(scores.size());
  RankWorstTiles(scores.data(), kTileTokens, 4 * kTileTokens, 2 * kTileTokens, order.data());
  const WorstRows runs[] = {{order.data(), 2 * kTileTokens}};
  for (const int64_t units : {1, 2}) {
    std::vector<int32_t> expected(kTileTokens);
    std::iota(expected.begin(), expected.end(), kTileTokens);
    for (int row = 3 * kTileTokens; units == 2 && row < 4 * kTileTokens; ++row) expected.push_back(row);
    EXPECT_EQ(TakeWorst(scores.data(), runs, units), expected);
  }
  // The later one of equals.
  scores.assign(scores.size(), 1.0f);
  RankWorstTiles(scores.data(), 0, 4 * kTileTokens, kTileTokens, order.data());
  EXPECT_EQ(TakeWorst(scores.data(), runs, 1).front(), 3 * kTileTokens);
}

TEST(WorstRows, AreNoneWhereNothingIsLeft) {
  EXPECT_TRUE(TakeWorst(nullptr, {}, 3).empty());
  const WorstRows none[2] = {};
  EXPECT_TRUE(TakeWorst(nullptr, none, 1).empty());
}

}  // namespace
}  // namespace kvprune
