#include "pruning/element_masks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/fixture.h"
#include "pruning/channel_weights.h"
#include "pruning/finite.h"
#include "pruning/head_case.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

// Positions of the `kept` largest values, the earlier of equals first.
std::vector<int> Best(const std::vector<double>& values, int kept) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(kept)));
  return order;
}

std::vector<float> Elements(int64_t count, int kind, std::mt19937* random) {
  auto elements = RandomFloats(static_cast<size_t>(count), random);
  if (kind == 1)
    for (float& x : elements) x = std::round(x);
  if (kind == 2) std::fill(elements.begin(), elements.end(), -0.5f);
  return elements;
}

TEST(ElementMasksTest, PerTokenKeepsTheLargestOfEachRow) {
  std::mt19937 random(1);
  for (const int width : {64, 80, 128})
    for (int kind = 0; kind < 3; ++kind)
      for (const bool weighted : {false, true})
        for (const int kept : {1, width / 3, width}) {
          const int64_t count = 66;
          const int64_t stride = width + 3;
          const auto rows = Elements(count * stride, kind, &random);
          auto weights = RandomFloats(static_cast<size_t>(width), &random);
          for (float& weight : weights) weight = std::fabs(weight);
          std::vector<uint8_t> mask(static_cast<size_t>(count * width), 9);
          ASSERT_TRUE(PerTokenMask({rows.data(), stride, count, 0}, width,
                                   weighted ? weights.data() : nullptr, kept, mask.data())
                          .ok());
          std::vector<uint8_t> expected(mask.size(), 0);
          for (int64_t t = 0; t < count; ++t) {
            std::vector<double> scores;
            for (int j = 0; j < width; ++j)
              scores.push_back(std::fabs(rows[t * stride + j]) * (weighted ? weights[j] : 1.0f));
            for (const int j : Best(scores, kept)) expected[t * width + j] = 1;
          }
          ASSERT_EQ(mask, expected) << width << " " << kind << " " << weighted << " " << kept;
        }
}

TEST(ElementMasksTest, PerChannelKeepsTheLargestOfEachGroupOfTokens) {
  std::mt19937 random(2);
  for (const int64_t count : {31, 32, 64, 192, 201})
    for (int kind = 0; kind < 3; ++kind)
      for (const bool weighted : {false, true})
        for (const int kept : {1, 10, 16, 32}) {
          const int width = 80;
          const auto rows = Elements(count * width, kind, &random);
          auto weights = RandomFloats(static_cast<size_t>(count), &random);
          for (float& weight : weights) weight = std::fabs(weight);
          std::vector<uint8_t> mask(static_cast<size_t>(count * width), 9);
          ASSERT_TRUE(PerChannelMask({rows.data(), width, count, 0}, width,
                                     weighted ? weights.data() : nullptr, kept, mask.data())
                          .ok());
          std::vector<uint8_t> expected(mask.size(), 0);
          for (int64_t first = 0; first < count; first += 32)
            for (int j = 0; j < width; ++j) {
              std::vector<double> scores;
              for (int64_t t = first; t < std::min(count, first + 32); ++t)
                scores.push_back(std::fabs(rows[t * width + j]) * (weighted ? weights[t] : 1.0f));
              for (const int t : Best(scores, kept)) expected[(first + t) * width + j] = 1;
            }
          ASSERT_EQ(mask, expected) << count << " " << kind << " " << weighted << " " << kept;
        }
}

TEST(ElementMasksTest, NaNIsAnError) {
  std::vector<float> rows(64 * 64, 1.0f);
  std::vector<float> weights(64, 1.0f);
  std::vector<uint8_t> mask(rows.size());
  weights[63] = NAN;
  const Status weight = PerTokenMask({rows.data(), 64, 64, 0}, 64, weights.data(), 32, mask.data());
  EXPECT_NE(weight.message().find("channel 63"), std::string::npos) << weight.message();
  const Status token = PerChannelMask({rows.data(), 64, 64, 0}, 64, weights.data(), 16, mask.data());
  EXPECT_NE(token.message().find("token 63"), std::string::npos) << token.message();
  rows[40 * 64 + 63] = INFINITY;
  for (const Status& status : {PerTokenMask({rows.data(), 64, 64, 1000}, 64, nullptr, 32, mask.data()),
                               PerChannelMask({rows.data(), 64, 64, 1000}, 64, nullptr, 16, mask.data())}) {
    EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT);
    EXPECT_NE(status.message().find("token 1040"), std::string::npos) << status.message();
  }
}

TEST(ChannelWeightsTest, FollowTheFormulas) {
  std::mt19937 random(3);
  for (const int group : {1, 4, 7})
    for (const int width : {64, 80, 128}) {
      const HeadCase head(50, 32, group, width, &random);
      std::vector<float> magnitude(static_cast<size_t>(width));
      std::vector<float> rms(magnitude.size());
      ASSERT_TRUE(QueryMagnitudeWeights(head.Queries(), width, magnitude.data()).ok());
      ASSERT_TRUE(QueryRmsWeights(head.Queries(), width, rms.data()).ok());
      for (int j = 0; j < width; ++j) {
        double magnitudes = 0;
        double squares = 0;
        for (int g = 0; g < group; ++g)
          for (int i = 0; i < 32; ++i) {
            const double q = head.Query(i, g)[j];
            magnitudes += std::fabs(q) / 32;
            squares += q * q / 32 / group;
          }
        ASSERT_NEAR(magnitude[j], magnitudes, 1e-6 * magnitudes);
        ASSERT_NEAR(rms[j], std::sqrt(squares), 1e-6 * std::sqrt(squares));
      }
    }
}

TEST(ChannelWeightsTest, OfTheOutputAreTheDiagonalsRoots) {
  std::vector<float> gram(64 * 64, 5.0f);
  std::vector<float> weights(64);
  for (int j = 0; j < 64; ++j) gram[j * 65] = static_cast<float>(j * j);
  ASSERT_TRUE(OutputWeights(gram.data(), 64, weights.data()).ok());
  for (int j = 0; j < 64; ++j) EXPECT_EQ(weights[j], static_cast<float>(j));
  gram[17 * 65] = -1;
  const Status status = OutputWeights(gram.data(), 64, weights.data());
  EXPECT_NE(status.message().find("channel 17"), std::string::npos) << status.message();
}

TEST(ChannelWeightsTest, NaNQueriesAreAnError) {
  std::mt19937 random(4);
  HeadCase head(50, 32, 2, 64, &random);
  head.queries[5 * head.query_stride + 64 + 9] = NAN;
  std::vector<float> weights(64);
  for (const Status& status : {QueryMagnitudeWeights(head.Queries(), 64, weights.data()),
                               QueryRmsWeights(head.Queries(), 64, weights.data())}) {
    EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT);
    EXPECT_NE(status.message().find("channel 9"), std::string::npos) << status.message();
  }
}

TEST(FiniteTest, FindsTheFirstRowWithNaNOrInfinity) {
  std::mt19937 random(5);
  for (const int width : {1, 31, 64, 80}) {
    auto rows = RandomFloats(static_cast<size_t>(97 * (width + 2)), &random);
    rows[static_cast<size_t>(width)] = NAN;  // between two rows
    EXPECT_EQ(FindNonFinite(rows.data(), width + 2, 97, width), -1);
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY})
      for (const int64_t row : {96, 50, 0}) {
        rows[static_cast<size_t>(row * (width + 2) + (row * 7) % width)] = bad;
        EXPECT_EQ(FindNonFinite(rows.data(), width + 2, 97, width), row);
        EXPECT_EQ(FindNonFinite(rows.data(), width + 2, row, width), -1);
        if (row == 0) std::fill(rows.begin(), rows.end(), 3.4e38f);
      }
  }
}

class ThinkValuesTest : public KernelTest {};
KVPRUNE_ALL_KERNELS(ThinkValuesTest);

Status SelectValueChannels(const HeadCase& head, int64_t pruned, const AttentionRule& rule, int kept,
                           uint8_t* channels) {
  const float* keys = head.keys.data();
  const float* values = head.values.data();
  double scores[kMaxHeadSize];
  Status status = ThinkValueScores(head.Queries(), {keys, values, head.tokens, pruned, keys, values, pruned},
                                   rule, scores);
  if (status.ok()) SelectBestChannels(scores, head.head_size, kept, channels);
  return status;
}

TEST_P(ThinkValuesTest, ScoresAreNormsOfTheOutput) {
  std::mt19937 random(6);
  int turn = 0;
  for (const int64_t tokens : BorderLengths(&random)) {
    const int group = std::vector<int>{1, 4, 7}[turn % 3];
    const int width = std::vector<int>{64, 80, 128}[turn++ / 3 % 3];
    const HeadCase head(tokens, 32, group, width, &random);
    const auto sinks = RandomFloats(static_cast<size_t>(group), &random);
    for (const int64_t window : {0, 40}) {
      const float softcap = window == 0 ? 0.0f : 5.0f;
      const AttentionRule rule{width, head.scale, softcap, window, window == 0 ? nullptr : sinks.data()};
      const Matrix attention = head.Attention(softcap, window, window == 0 ? std::vector<float>() : sinks);
      const int64_t pruned = tokens * 2 / 3;
      std::vector<double> scores(static_cast<size_t>(width), 0.0);
      for (int g = 0; g < group; ++g)
        for (int j = 0; j < width; ++j) {
          double squares = 0;
          for (int64_t i = 0; i < head.observed; ++i) {
            double output = 0;
            for (int64_t t = 0; t < pruned; ++t)
              output += attention[i * group + g][t] * static_cast<double>(head.values[t * width + j]);
            squares += output * output;
          }
          scores[j] += std::sqrt(squares) / group;
        }
      const int kept = width * 3 / 5;
      std::vector<uint8_t> channels(static_cast<size_t>(kept));
      ASSERT_TRUE(SelectValueChannels(head, pruned, rule, kept, channels.data()).ok());
      ASSERT_TRUE(std::is_sorted(channels.begin(), channels.end()));
      ASSERT_EQ(std::adjacent_find(channels.begin(), channels.end()), channels.end());
      // Everything kept is better than everything removed, but for what bfloat16 products may swap.
      double worst = INFINITY;
      double best_removed = 0;
      for (int j = 0; j < width; ++j) {
        const bool is_kept = std::binary_search(channels.begin(), channels.end(), static_cast<uint8_t>(j));
        (is_kept ? worst : best_removed) =
            is_kept ? std::min(worst, scores[j]) : std::max(best_removed, scores[j]);
      }
      ASSERT_GE(worst, best_removed * (1 - 1e-4)) << tokens << " window " << window;
    }
  }
}

TEST_P(ThinkValuesTest, EqualChannelsKeepTheLowerOnes) {
  std::mt19937 random(7);
  HeadCase head(100, 32, 4, 64, &random);
  for (size_t i = 0; i < head.values.size(); ++i) head.values[i] = head.values[i / 64 * 64];
  std::vector<uint8_t> channels(20);
  ASSERT_TRUE(SelectValueChannels(head, 64, {64, head.scale}, 20, channels.data()).ok());
  for (int j = 0; j < 20; ++j) EXPECT_EQ(channels[j], j);
}

TEST_P(ThinkValuesTest, NaNIsAnError) {
  std::mt19937 random(8);
  for (const bool in_key : {false, true}) {
    HeadCase head(100, 32, 4, 64, &random);
    (in_key ? head.keys : head.values)[10 * 64 + 3] = NAN;
    std::vector<uint8_t> channels(20);
    EXPECT_EQ(SelectValueChannels(head, 64, {64, head.scale}, 20, channels.data()).code(),
              KVP_INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace kvprune
