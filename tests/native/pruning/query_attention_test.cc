#include <gtest/gtest.h>

#include <cmath>

#include "kernels/fixture.h"
#include "pruning/accumulated_attention.h"
#include "pruning/head_case.h"
#include "pruning/max_pool.h"
#include "pruning/reconstruction.h"
#include "pruning/window_attention.h"

namespace kvprune {
namespace {

class QueryAttentionTest : public KernelTest {};
KVPRUNE_ALL_KERNELS(QueryAttentionTest);

struct Rules {
  float softcap;
  int64_t window;
  std::vector<float> sinks;
};

// Every rule with every length; group and head size take turns.
template <class Check>
void ForCases(int64_t observed, const Check& check) {
  std::mt19937 random(7);
  const int groups[] = {1, 4, 7};
  const int head_sizes[] = {64, 80, 128};
  int turn = 0;
  for (const int64_t tokens : BorderLengths(&random)) {
    const HeadCase head(tokens, observed, groups[turn % 3], head_sizes[turn / 3 % 3], &random);
    const auto sinks = RandomFloats(static_cast<size_t>(head.group), &random);
    for (const Rules& rules : {Rules{0, 0, {}}, Rules{3, 50, {}}, Rules{0, 7, sinks}}) {
      SCOPED_TRACE("tokens " + std::to_string(tokens) + " group " + std::to_string(head.group) + " size " +
                   std::to_string(head.head_size) + " window " + std::to_string(rules.window));
      const AttentionRule rule{head.head_size, head.scale, rules.softcap, rules.window,
                               rules.sinks.empty() ? nullptr : rules.sinks.data()};
      check(head, rule, head.Attention(rules.softcap, rules.window, rules.sinks));
    }
    ++turn;
  }
}

double SumOf(const Matrix& attention, int64_t token) {
  double sum = 0;
  for (const auto& row : attention) sum += row[static_cast<size_t>(token)];
  return sum;
}

TEST_P(QueryAttentionTest, WindowAttentionIsTheSumOverQueriesAndTheMeanOverHeads) {
  ForCases(32, [](const HeadCase& head, const AttentionRule& rule, const Matrix& attention) {
    std::vector<float> scratch = head.Scratch();
    std::vector<double> mass(static_cast<size_t>(head.tokens), 9.0);
    std::vector<float> scores(mass.size());
    ASSERT_TRUE(
        WindowAttention(head.Queries(), head.Keys(), rule, scratch.data(), mass.data(), scores.data()).ok());
    for (int64_t t = 0; t < head.tokens; ++t) {
      const double expected = SumOf(attention, t) / head.group;
      ASSERT_NEAR(scores[t], expected, 1e-5 * expected + 1e-9) << t;
    }
  });
}

// Queries in a ring are not in the order of their positions.
TEST_P(QueryAttentionTest, PositionsMayComeInAnyOrder) {
  std::mt19937 random(3);
  const HeadCase head(150, 40, 3, 64, &random);
  HeadCase ring = head;
  std::vector<int64_t> positions(40);
  for (int64_t i = 0; i < 40; ++i) {
    const int64_t slot = (i + 17) % 40;
    positions[slot] = head.Queries().Position(i);
    std::copy_n(head.Query(i, 0), 3 * 64, ring.queries.data() + slot * ring.query_stride);
  }
  QueryRows queries = ring.Queries();
  queries.positions = positions.data();
  std::vector<float> scratch = head.Scratch();
  std::vector<double> mass(150, 0.0);
  const TokenRows keys = head.Keys();
  SumAttention(queries, {&keys, 1}, {64, head.scale, 0, 60, nullptr}, scratch.data(), mass.data());
  const Matrix attention = head.Attention(0, 60);
  for (int64_t t = 0; t < 150; ++t) EXPECT_NEAR(mass[t], SumOf(attention, t), 1e-5) << t;
}

TEST_P(QueryAttentionTest, AccumulatedAttentionIsTheMeanOfThoseThatSawTheToken) {
  ForCases(90, [](const HeadCase& head, const AttentionRule& rule, const Matrix& attention) {
    std::vector<float> scratch = head.Scratch();
    std::vector<double> mass(static_cast<size_t>(head.tokens), 0.0);
    const TokenRows keys = head.Keys();
    // In blocks of queries, as prompts come in chunks.
    for (int64_t first = 0; first < head.observed; first += 37) {
      QueryRows block = head.Queries();
      block.rows += first * block.stride;
      block.first_position += first;
      block.count = std::min<int64_t>(37, head.observed - first);
      SumAttention(block, {&keys, 1}, rule, scratch.data(), mass.data());
    }
    std::vector<float> scores(mass.size());
    ASSERT_TRUE(AccumulatedScores(mass.data(), head.tokens, 0, head.tokens - head.observed, head.observed,
                                  head.group, rule.window, scores.data())
                    .ok());
    for (int64_t t = 0; t < head.tokens; ++t) {
      int64_t exposure = 0;
      for (int64_t q = head.tokens - head.observed; q < head.tokens; ++q)
        exposure += q >= t && (rule.window == 0 || q < t + rule.window) ? 1 : 0;
      ASSERT_EQ(Exposure(t, head.tokens - head.observed, head.observed, rule.window), exposure) << t;
      const double expected = exposure == 0 ? 0.0 : SumOf(attention, t) / (exposure * head.group);
      ASSERT_NEAR(scores[t], expected, 1e-5 * expected + 1e-9) << t;
    }
  });
}

// The probe's queries see the whole segment and the probe's own keys up to themselves.
TEST_P(QueryAttentionTest, ReconstructionIsTheLargestAttentionOfAnyQuery) {
  ForCases(45, [](const HeadCase& head, const AttentionRule& rule, const Matrix& attention) {
    const int64_t segment = head.tokens - head.observed;
    if (segment == 0) return;
    const TokenRows past{head.keys.data(), head.head_size, segment, 0};
    const TokenRows probe{head.keys.data() + segment * head.head_size, head.head_size, head.observed,
                          segment};
    std::vector<float> scratch(static_cast<size_t>(AttentionScratchFloats(head.tokens, 2, head.head_size)));
    std::vector<float> most(static_cast<size_t>(head.tokens));
    std::vector<float> scores(static_cast<size_t>(segment), 0.0f);
    scores[0] = 0.75f;
    for (int64_t first = 0; first < head.observed; first += 20) {
      QueryRows block = head.Queries();
      block.rows += first * block.stride;
      block.first_position += first;
      block.count = std::min<int64_t>(20, head.observed - first);
      ASSERT_TRUE(
          ReconstructionScores(block, past, probe, rule, scratch.data(), most.data(), scores.data()).ok());
    }
    for (int64_t t = 0; t < segment; ++t) {
      double expected = t == 0 ? 0.75 : 0.0;
      for (const auto& row : attention) expected = std::max(expected, row[static_cast<size_t>(t)]);
      ASSERT_NEAR(scores[t], expected, 1e-5 * expected + 1e-9) << t;
    }
  });
}

TEST_P(QueryAttentionTest, EqualKeysGetEqualScores) {
  std::mt19937 random(5);
  HeadCase head(200, 32, 4, 64, &random);
  std::fill(head.keys.begin(), head.keys.end(), 0.25f);
  std::vector<float> scratch = head.Scratch();
  std::vector<double> mass(200);
  std::vector<float> scores(200);
  ASSERT_TRUE(WindowAttention(head.Queries(), head.Keys(), {64, head.scale}, scratch.data(), mass.data(),
                              scores.data())
                  .ok());
  for (int64_t t = 1; t < 168; ++t) EXPECT_EQ(scores[t], scores[0]) << t;
}

TEST_P(QueryAttentionTest, LargeLogitsDoNotOverflow) {
  std::mt19937 random(6);
  HeadCase head(130, 20, 2, 64, &random);
  for (float& x : head.queries) x *= 2000;
  std::vector<float> scratch = head.Scratch();
  std::vector<double> mass(130);
  std::vector<float> scores(130);
  ASSERT_TRUE(WindowAttention(head.Queries(), head.Keys(), {64, head.scale}, scratch.data(), mass.data(),
                              scores.data())
                  .ok());
  double sum = 0;
  for (const float score : scores) sum += static_cast<double>(score);
  EXPECT_NEAR(sum, 20, 1e-4);
}

TEST_P(QueryAttentionTest, NaNInQueriesOrKeysIsAnError) {
  std::mt19937 random(8);
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const bool in_key : {false, true}) {
      HeadCase head(130, 20, 2, 64, &random);
      (in_key ? head.keys[100 * 64 + 3] : head.queries[7 * head.query_stride + 70]) = bad;
      std::vector<float> scratch = head.Scratch();
      std::vector<double> mass(130);
      std::vector<float> scores(130);
      const AttentionRule rule{64, head.scale};
      const Status window =
          WindowAttention(head.Queries(), head.Keys(), rule, scratch.data(), mass.data(), scores.data());
      EXPECT_EQ(window.code(), KVP_INVALID_ARGUMENT) << bad << in_key;
      EXPECT_NE(window.message().find("window attention of token"), std::string::npos);
      EXPECT_FALSE(AccumulatedScores(mass.data(), 130, 0, 110, 20, 2, 0, scores.data()).ok());

      std::fill(scores.begin(), scores.end(), 0.0f);
      std::vector<float> most(130);
      std::vector<float> two(static_cast<size_t>(AttentionScratchFloats(130, 2, 64)));
      EXPECT_FALSE(ReconstructionScores(head.Queries(), {head.keys.data(), 64, 110, 0},
                                        {head.keys.data() + 110 * 64, 64, 20, 110}, rule, two.data(),
                                        most.data(), scores.data())
                       .ok())
          << bad << in_key;
    }
}

TEST(MaxPoolTest, TakesTheLargestOfTheNeighboursThereAre) {
  std::mt19937 random(9);
  for (const int64_t count : BorderLengths(&random))
    for (const int kernel : {1, 5, 7}) {
      const auto scores = RandomFloats(static_cast<size_t>(count), &random);
      std::vector<float> pooled(scores.size());
      MaxPool(scores.data(), count, kernel, pooled.data());
      for (int64_t t = 0; t < count; ++t) {
        float expected = scores[t];
        for (int64_t u = 0; u < count; ++u)
          if (std::abs(u - t) <= kernel / 2) expected = std::max(expected, scores[u]);
        ASSERT_EQ(pooled[t], expected) << t;
      }
    }
}

}  // namespace
}  // namespace kvprune
