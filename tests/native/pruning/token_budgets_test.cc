#include "pruning/token_budgets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "pruning/head_case.h"
#include "pruning/kept_tokens.h"
#include "pruning/pooled_budgets.h"

namespace kvprune {
namespace {

TEST(TokenBudgetsTest, CountsOfTokens) {
  EXPECT_EQ(TokensToKeep(1000, 0.5, 0), 500);
  EXPECT_EQ(TokensToKeep(1001, 0.5, 0), 501);
  EXPECT_EQ(TokensToKeep(1000, 0.7, 0), 300);
  EXPECT_EQ(TokensToKeep(1, 0.99, 0), 1);
  EXPECT_EQ(TokensToKeep(1000, 0.5, 128), 128);
  EXPECT_EQ(TokensToKeep(100, 0.5, 128), 100);
  // 40 of 1000 tokens stay in the tail, and they count.
  EXPECT_EQ(SealableToKeep(500, 1000, 960), 460);
  EXPECT_EQ(SealableToKeep(30, 1000, 960), 0);
  EXPECT_EQ(SealableToKeep(1000, 1000, 960), 960);
  EXPECT_EQ(RoundToTiles(31, 640), 0);
  EXPECT_EQ(RoundToTiles(32, 640), 64);
  EXPECT_EQ(RoundToTiles(95, 640), 64);
  EXPECT_EQ(RoundToTiles(96, 640), 128);
  EXPECT_EQ(RoundToTiles(640, 640), 640);
}

TEST(TokenBudgetsTest, PyramidFallsLinearlyAndKeepsTheMean) {
  for (const int layers : {2, 5, 32}) {
    std::vector<int64_t> budgets(static_cast<size_t>(layers));
    PyramidBudgets(layers, 4096, 1000, 20, budgets.data());
    EXPECT_EQ(budgets.front(), 1950);
    EXPECT_EQ(budgets.back(), 50);
    EXPECT_NEAR(std::accumulate(budgets.begin(), budgets.end(), 0.0) / layers, 1000, 0.5);
    for (int l = 1; l < layers; ++l)
      EXPECT_NEAR(static_cast<double>(budgets[l - 1] - budgets[l]), 1900.0 / (layers - 1), 1.0);
  }
}

TEST(TokenBudgetsTest, PyramidOfShortPromptsIsUniform) {
  std::vector<int64_t> budgets(4);
  PyramidBudgets(4, 1999, 1000, 20, budgets.data());
  EXPECT_EQ(budgets, (std::vector<int64_t>{1000, 1000, 1000, 1000}));
  PyramidBudgets(4, 2000, 1000, 20, budgets.data());
  EXPECT_EQ(budgets.front(), 1950);
  PyramidBudgets(1, 4000, 1000, 20, budgets.data());
  EXPECT_EQ(budgets.front(), 1000);
}

// Tokens by score, sinks first, the earlier one of equals first.
std::vector<int32_t> Ranking(const std::vector<float>& scores, int64_t sinks) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (a < sinks || b < sinks) return a < sinks && b >= sinks;
    return scores[a] > scores[b];
  });
  return order;
}

std::vector<float> Scores(int64_t tokens, int kind, std::mt19937* random) {
  std::vector<float> scores = RandomFloats(static_cast<size_t>(tokens), random);
  if (kind == 1)
    for (float& score : scores) score = std::round(2 * score);  // many ties, and both zeros
  if (kind == 2) std::fill(scores.begin(), scores.end(), 0.5f);
  if (kind == 3)
    for (float& score : scores) score = std::fabs(score) * 1e-30f;
  return scores;
}

TEST(KeptTokensTest, AreTheBestInOrder) {
  std::mt19937 random(1);
  for (const int64_t tokens : BorderLengths(&random))
    for (int kind = 0; kind < 4; ++kind)
      for (const int64_t kept : {int64_t{0}, int64_t{1}, tokens / 3, tokens / 2, tokens - 1, tokens}) {
        if (kept > tokens) continue;
        const auto scores = Scores(tokens, kind, &random);
        std::vector<uint64_t> order(scores.size());
        std::vector<int32_t> selected(static_cast<size_t>(kept));
        ASSERT_TRUE(SelectTokens(scores.data(), tokens, 4, kept, order.data(), selected.data()).ok());
        auto expected = Ranking(scores, std::min<int64_t>(4, tokens));
        expected.resize(static_cast<size_t>(kept));
        std::sort(expected.begin(), expected.end());
        ASSERT_EQ(selected, expected) << tokens << " " << kind << " " << kept;
      }
}

TEST(KeptTokensTest, SecondStageWeighsWhatTheFirstOneLeft) {
  std::mt19937 random(2);
  for (const int64_t tokens : BorderLengths(&random))
    for (int kind = 0; kind < 4; ++kind) {
      auto scores = Scores(tokens, kind, &random);
      for (float& score : scores) score = std::fabs(score);
      auto norms = RandomFloats(scores.size(), &random);
      for (float& norm : norms) norm = std::fabs(norm);
      const int64_t kept = (tokens + 1) / 2;
      std::set<int32_t> expected;
      for (const int32_t token : Ranking(scores, 2))
        if (static_cast<int64_t>(expected.size()) < kept / 2) expected.insert(token);
      std::vector<float> weighed(scores.size());
      for (size_t t = 0; t < scores.size(); ++t) weighed[t] = scores[t] * norms[t];
      for (const int32_t token : Ranking(weighed, 2))
        if (static_cast<int64_t>(expected.size()) < kept) expected.insert(token);
      std::vector<uint64_t> order(scores.size());
      std::vector<int32_t> selected(static_cast<size_t>(kept));
      ASSERT_TRUE(
          SelectTokensInTwoStages(scores.data(), norms.data(), tokens, 2, kept, order.data(), selected.data())
              .ok());
      ASSERT_EQ(selected, std::vector<int32_t>(expected.begin(), expected.end())) << tokens << " " << kind;
    }
}

TEST(KeptTokensTest, OfRecencyAreSinksAndTheNewest) {
  std::vector<float> scores(100);
  RecencyScores(100, scores.data());
  std::vector<uint64_t> order(100);
  std::vector<int32_t> selected(7);
  ASSERT_TRUE(SelectTokens(scores.data(), 100, 4, 7, order.data(), selected.data()).ok());
  EXPECT_EQ(selected, (std::vector<int32_t>{0, 1, 2, 3, 97, 98, 99}));
  ASSERT_TRUE(SelectTokens(scores.data(), 100, 4, 3, order.data(), selected.data()).ok());
  EXPECT_EQ(std::vector<int32_t>(selected.begin(), selected.begin() + 3), (std::vector<int32_t>{0, 1, 2}));
}

// Sorts all heads' entries, after each head's own first ones.
std::vector<int64_t> Pooled(const std::vector<std::vector<float>>& scores, int64_t sinks, int64_t per_head,
                            double floor) {
  const auto tokens = static_cast<int64_t>(scores[0].size());
  per_head = std::min(per_head, tokens);
  const int64_t least = std::min(per_head, std::max(static_cast<int64_t>(floor * per_head), sinks));
  struct Entry {
    bool sink;
    float score;
    int64_t token;
    size_t head;
  };
  std::vector<Entry> rest;
  for (size_t head = 0; head < scores.size(); ++head) {
    const auto order = Ranking(scores[head], sinks);
    for (int64_t i = least; i < tokens; ++i)
      rest.push_back({order[i] < sinks, scores[head][order[i]], order[i], head});
  }
  std::sort(rest.begin(), rest.end(), [](const Entry& a, const Entry& b) {
    if (a.sink != b.sink) return a.sink;
    if (!a.sink && a.score != b.score) return a.score > b.score;
    return a.token != b.token ? a.token < b.token : a.head < b.head;
  });
  std::vector<int64_t> kept(scores.size(), least);
  for (int64_t i = 0; i < (per_head - least) * static_cast<int64_t>(scores.size()); ++i) ++kept[rest[i].head];
  return kept;
}

TEST(PooledBudgetsTest, AreTheHeadsSharesOfTheBestOfAll) {
  std::mt19937 random(3);
  for (const int64_t tokens : BorderLengths(&random))
    for (int kind = 0; kind < 4; ++kind)
      for (const size_t heads : {1u, 3u, 8u})
        for (const double floor : {0.0, 0.2, 1.0}) {
          std::vector<std::vector<float>> scores;
          std::vector<const float*> pointers;
          for (size_t head = 0; head < heads; ++head) {
            scores.push_back(Scores(tokens, kind, &random));
            if (head == 1)
              for (float& score : scores[1]) score += 2;  // a head with much to keep
          }
          for (const auto& row : scores) pointers.push_back(row.data());
          for (const int64_t per_head : {int64_t{0}, int64_t{3}, tokens / 3, tokens, tokens + 5}) {
            std::vector<int64_t> kept(heads, -1);
            ASSERT_TRUE(PooledBudgets(pointers, tokens, 4, per_head, floor, kept.data()).ok());
            ASSERT_EQ(kept, Pooled(scores, 4, per_head, floor))
                << tokens << " tokens, kind " << kind << ", per head " << per_head << ", floor " << floor;
          }
        }
}

TEST(PooledBudgetsTest, NaNNamesHeadAndToken) {
  std::vector<float> good(70, 1.0f);
  std::vector<float> bad(70, 1.0f);
  bad[66] = NAN;
  const std::vector<const float*> scores{good.data(), bad.data()};
  std::vector<int64_t> kept(2);
  const Status status = PooledBudgets(scores, 70, 4, 20, 0.2, kept.data());
  EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT);
  EXPECT_NE(status.message().find("head 1"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("token 66"), std::string::npos) << status.message();

  std::vector<uint64_t> order(70);
  std::vector<int32_t> selected(20);
  EXPECT_FALSE(SelectTokens(bad.data(), 70, 4, 20, order.data(), selected.data()).ok());
  EXPECT_FALSE(
      SelectTokensInTwoStages(good.data(), bad.data(), 70, 4, 20, order.data(), selected.data()).ok());
}

}  // namespace
}  // namespace kvprune
