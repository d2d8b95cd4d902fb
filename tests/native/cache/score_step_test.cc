#include "cache/score_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cache/eviction_fixture.h"
#include "kernels/fixture.h"

namespace kvprune::test {
namespace {

struct Expected {
  std::vector<double> mass;
  std::vector<int> seen;
};

// What all queries of `length` tokens give to each of their rows, by the definition.
Expected Attention(const ToyModel& model, int layer, int kv_head, int64_t length) {
  Expected expected{std::vector<double>(length), std::vector<int>(length)};
  for (int64_t position = 0; position < length; ++position) {
    const int64_t first = position + 1 - model.Seen(position + 1);
    for (int64_t t = first; t <= position; ++t) ++expected.seen[t];
    for (int head = kv_head * kShape.group(); head < (kv_head + 1) * kShape.group(); ++head) {
      const std::vector<float> query = model.Query(layer, position, head);
      std::vector<double> weights;
      double sum = std::exp(model.Sink(head));
      for (int64_t t = first; t <= position; ++t) {
        const std::vector<float> key = model.Key(layer, t, kv_head);
        double logit = 0;
        for (int j = 0; j < kShape.head_size; ++j)
          logit += static_cast<double>(query[j]) * static_cast<double>(key[j]);
        logit /= std::sqrt(static_cast<double>(kShape.head_size));
        if (model.softcap() > 0) logit = model.softcap() * std::tanh(logit / model.softcap());
        weights.push_back(std::exp(logit));
        sum += weights.back();
      }
      for (int64_t t = first; t <= position; ++t) expected.mass[t] += weights[t - first] / sum;
    }
  }
  return expected;
}

using ScoreStepTest = KernelTest;
KVPRUNE_ALL_KERNELS(ScoreStepTest);

// A prompt in two chunks, then generated tokens; nothing is evicted.
TEST_P(ScoreStepTest, RowsHaveTheAttentionOfAllQueriesThatSawThem) {
  Policy policy = Evicting(TokenScore::kAccumulatedAttention, 0);
  policy.eviction.token_budget = 100000;
  policy.eviction.while_decoding = true;
  for (const int64_t window : {0, 50, 150}) {
    ToyModel model(11, 0, window);
    if (window == 50) model.UseSoftcapAndSinks(1.5f, {4.0f, -3.0f, 7.0f, 6.0f});
    const auto sequence = NewSequence(NewManager(), policy);
    model.Prompt(*sequence, 150, 70);
    model.Decode(*sequence, 110);
    for (int layer = 0; layer < kShape.layers; ++layer)
      for (int head = 0; head < kShape.kv_heads; ++head) {
        const Expected expected = Attention(model, layer, head, sequence->length());
        const RowScores& scores = *sequence->scores(layer);
        for (int64_t t = 0; t < sequence->length(); ++t) {
          ASSERT_NEAR(scores.mass(head)[t], expected.mass[t], 1e-4 * expected.mass[t] + 1e-6)
              << "window " << window << " layer " << layer << " head " << head << " token " << t;
          ASSERT_EQ(static_cast<int>(scores.exposure(head)[t]), expected.seen[t]) << t;
        }
      }
  }
}

TEST(LogAdd, TakesInfinities) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(LogAdd(-kInfinity, -kInfinity), -kInfinity);
  EXPECT_EQ(LogAdd(-kInfinity, 3.0f), 3.0f);
  EXPECT_FLOAT_EQ(LogAdd(1000.0f, 1000.0f), 1000.0f + std::log(2.0f));
}

}  // namespace
}  // namespace kvprune::test
