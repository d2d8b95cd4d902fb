#include "pruning/policy.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace kvprune {
namespace {

constexpr ModelShape kShape = {3, 8, 2, 64, 4096};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

kvp_policy Plain() {
  kvp_policy policy = {};
  policy.recent_window = 32;
  policy.observation_window = 32;
  return policy;
}

kvp_policy Evicting(int32_t score) {
  kvp_policy policy = Plain();
  policy.token_score = score;
  policy.token_sparsity = 0.5f;
  policy.sink_tokens = 4;
  policy.pool_kernel = 7;
  policy.head_floor = 0.2f;
  return policy;
}

using Change = std::function<void(kvp_policy&)>;

Policy Made(
    kvp_policy source, const Change& change = [](kvp_policy&) {}) {
  change(source);
  Policy policy = {};
  const Status status = MakePolicy(source, kShape, &policy);
  EXPECT_TRUE(status.ok()) << status.message();
  return policy;
}

void ExpectRefused(kvp_policy source, const Change& change, const char* words) {
  change(source);
  Policy policy = {};
  const Status status = MakePolicy(source, kShape, &policy);
  EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT) << words;
  EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
}

TEST(PolicyTest, CarriesEveryField) {
  kvp_policy source = Evicting(KVP_TOKENS_WINDOW_ATTENTION);
  source.key_storage = KVP_STORAGE_INT4;
  source.value_storage = KVP_STORAGE_FLOAT16;
  source.key_channel_sparsity = 0.1f;
  source.value_channel_sparsity = 0.2f;
  source.key_sparsity = 0.3f;
  source.value_sparsity = 0.4f;
  source.recent_window = 1 << 20;
  source.observation_window = 17;
  source.value_pattern = KVP_PATTERN_PER_CHANNEL;
  source.key_score = KVP_KEY_QUERY_RMS;
  source.value_score = KVP_VALUE_ATTENTION;
  source.token_sparsity = 0;
  source.token_budget = 77;
  source.pyramid_slope = 20;
  source.head_budgets = KVP_HEADS_ADAPTIVE;
  source.second_stage = 1;
  const Policy policy = Made(source);
  EXPECT_EQ(policy.key_storage, Storage::kInt4);
  EXPECT_EQ(policy.value_storage, Storage::kFloat16);
  EXPECT_EQ(policy.recent_window, kShape.max_tokens) << "no more than the model's context";
  EXPECT_EQ(policy.observation_window, 17);
  EXPECT_EQ(policy.key_pattern, SparsityPattern::kPerToken);
  EXPECT_EQ(policy.value_pattern, SparsityPattern::kPerChannel);
  EXPECT_EQ(policy.key_score, KeyScore::kQueryRms);
  EXPECT_EQ(policy.value_score, ValueScore::kAttention);
  const Eviction& eviction = policy.eviction;
  EXPECT_EQ(eviction.score, TokenScore::kWindowAttention);
  EXPECT_EQ(eviction.token_budget, 77);
  EXPECT_EQ(eviction.sink_tokens, 4);
  EXPECT_EQ(eviction.pool_kernel, 7);
  EXPECT_EQ(eviction.pyramid_slope, 20.0f);
  EXPECT_EQ(eviction.heads, HeadBudgets::kAdaptive);
  EXPECT_EQ(eviction.head_floor, 0.2f);
  EXPECT_FALSE(eviction.weigh_by_value);
  EXPECT_TRUE(eviction.second_stage);
  EXPECT_FALSE(eviction.while_decoding);
  const LayerSparsity sparsity = policy.ForLayer(2);
  EXPECT_EQ(sparsity.key_channels, 0.1f);
  EXPECT_EQ(sparsity.value_channels, 0.2f);
  EXPECT_EQ(sparsity.keys, 0.3f);
  EXPECT_EQ(sparsity.values, 0.4f);
  EXPECT_EQ(sparsity.tokens, 0.0f);
}

TEST(PolicyTest, LayersReplaceThePolicysSparsities) {
  const kvp_layer_sparsity layers[] = {{0, 0, 0, 0, 0.5f}, {0, 0, 0.6f, 0, 0.5f}, {0.25f, 0, 0, 0.75f, 0.5f}};
  const auto with_layers = [&](kvp_policy& p) {
    p.layers = layers;
    p.layer_count = 3;
  };
  const Policy policy = Made(Evicting(KVP_TOKENS_RECENCY), with_layers);
  EXPECT_EQ(policy.ForLayer(0).values, 0.0f);
  EXPECT_EQ(policy.ForLayer(1).keys, 0.6f);
  EXPECT_EQ(policy.ForLayer(2).values, 0.75f);
  EXPECT_TRUE(policy.NeedsObservedQueries()) << "layer 2 removes K channels";

  ExpectRefused(
      Plain(), [&](kvp_policy& p) { p.layers = layers, p.layer_count = 2; }, "layer_count is 2");
  ExpectRefused(
      Plain(), [&](kvp_policy& p) { p.layer_count = 3; }, "layer_count");
  ExpectRefused(
      Plain(), [&](kvp_policy& p) { p.layer_count = -1; }, "layer_count");
  ExpectRefused(Plain(), with_layers, "token_score");
  ExpectRefused(
      Evicting(KVP_TOKENS_RECENCY), [&](kvp_policy& p) { with_layers(p), p.output_error = 0.1f; },
      "output_error");
  kvp_layer_sparsity bad[] = {layers[0], layers[1], layers[2]};
  bad[2].key_sparsity = kNan;
  ExpectRefused(
      Evicting(KVP_TOKENS_RECENCY), [&](kvp_policy& p) { p.layers = bad, p.layer_count = 3; },
      "layers[2].key_sparsity is nan");
  bad[2] = layers[2];
  bad[1].token_sparsity = 0.25f;
  const auto uneven = [&](kvp_policy& p) { p.layers = bad, p.layer_count = 3; };
  const kvp_policy snap = Evicting(KVP_TOKENS_WINDOW_ATTENTION);
  EXPECT_EQ(Made(snap, uneven).ForLayer(1).tokens, 0.25f);
  ExpectRefused(
      snap, [&](kvp_policy& p) { uneven(p), p.pyramid_slope = 20; }, "pyramid_slope and");
  ExpectRefused(
      snap, [&](kvp_policy& p) { uneven(p), p.head_budgets = KVP_HEADS_GLOBAL; }, "global");
  ExpectRefused(
      snap, [&](kvp_policy& p) { uneven(p), p.token_sparsity = 0, p.token_budget = 9; }, "only one of them");
}

TEST(PolicyTest, RefusesFractionsOutsideTheirRangeByName) {
  const std::pair<const char*, float kvp_policy::*> fractions[] = {
      {"key_channel_sparsity", &kvp_policy::key_channel_sparsity},
      {"value_channel_sparsity", &kvp_policy::value_channel_sparsity},
      {"key_sparsity", &kvp_policy::key_sparsity},
      {"value_sparsity", &kvp_policy::value_sparsity},
      {"token_sparsity", &kvp_policy::token_sparsity},
      {"output_error", &kvp_policy::output_error},
  };
  const kvp_policy source = Evicting(KVP_TOKENS_EXPECTED_ATTENTION);
  for (const auto& [name, field] : fractions)
    for (const float value : {-0.01f, 1.0f, 7.0f, kNan, std::numeric_limits<float>::infinity()})
      ExpectRefused(
          source, [&](kvp_policy& p) { p.*field = value; }, (std::string(name) + " is").c_str());
  for (const float value : {-1.0f, 0.5f, kNan, std::numeric_limits<float>::infinity()})
    ExpectRefused(
        source, [&](kvp_policy& p) { p.pyramid_slope = value; }, "pyramid_slope is");
  for (const float value : {-0.1f, 1.1f, kNan})
    ExpectRefused(
        source, [&](kvp_policy& p) { p.head_floor = value; }, "head_floor is");
  for (const float value : {0.0f, 1.0f}) Made(source, [&](kvp_policy& p) { p.head_floor = value; });
}

TEST(PolicyTest, RefusesNumbersOutsideTheirRangeByName) {
  const std::pair<const char*, int32_t kvp_policy::*> members[] = {
      {"key_storage", &kvp_policy::key_storage},     {"value_storage", &kvp_policy::value_storage},
      {"key_pattern", &kvp_policy::key_pattern},     {"value_pattern", &kvp_policy::value_pattern},
      {"key_score", &kvp_policy::key_score},         {"value_score", &kvp_policy::value_score},
      {"token_score", &kvp_policy::token_score},     {"head_budgets", &kvp_policy::head_budgets},
      {"recent_window", &kvp_policy::recent_window}, {"observation_window", &kvp_policy::observation_window},
      {"sink_tokens", &kvp_policy::sink_tokens},     {"pool_kernel", &kvp_policy::pool_kernel},
  };
  const kvp_policy source = Evicting(KVP_TOKENS_ACCUMULATED_ATTENTION);
  for (const auto& [name, field] : members)
    for (const int32_t value : {-1, (1 << 20) + 1, std::numeric_limits<int32_t>::max()})
      ExpectRefused(
          source, [&](kvp_policy& p) { p.*field = value; }, (std::string(name) + " is").c_str());
  ExpectRefused(
      source, [](kvp_policy& p) { p.token_budget = -1; }, "token_budget is");
  ExpectRefused(
      source, [](kvp_policy& p) { p.observation_window = 0; }, "observation_window is 0");
  ExpectRefused(
      source, [](kvp_policy& p) { p.pool_kernel = 6; }, "pool_kernel is 6");
}

TEST(PolicyTest, RefusesWhatCannotBeCombinedWithTheReason) {
  const kvp_policy plain = Plain();
  const kvp_policy snap = Evicting(KVP_TOKENS_WINDOW_ATTENTION);
  const kvp_policy recency = Evicting(KVP_TOKENS_RECENCY);
  ExpectRefused(
      plain, [](kvp_policy& p) { p.value_score = KVP_VALUE_ATTENTION; }, "order within the row");
  ExpectRefused(
      plain, [](kvp_policy& p) { p.token_sparsity = 0.5f; }, "need a token_score");
  ExpectRefused(
      plain, [](kvp_policy& p) { p.token_budget = 5; }, "need a token_score");
  ExpectRefused(
      snap, [](kvp_policy& p) { p.token_budget = 5; }, "only one of them");
  ExpectRefused(
      snap, [](kvp_policy& p) { p.head_budgets = KVP_HEADS_GLOBAL, p.pyramid_slope = 20; }, "global");
  ExpectRefused(
      recency, [](kvp_policy& p) { p.head_budgets = KVP_HEADS_ADAPTIVE; }, "by recency");
  ExpectRefused(
      recency, [](kvp_policy& p) { p.head_budgets = KVP_HEADS_GLOBAL; }, "by recency");
  ExpectRefused(
      recency, [](kvp_policy& p) { p.weigh_by_value = 1; }, "recency");
  ExpectRefused(
      recency, [](kvp_policy& p) { p.second_stage = 1; }, "recency");
  ExpectRefused(
      snap, [](kvp_policy& p) { p.weigh_by_value = p.second_stage = 1; }, "weigh_by_value makes");
  for (float kvp_policy::*sparsity : {&kvp_policy::key_channel_sparsity, &kvp_policy::value_channel_sparsity,
                                      &kvp_policy::key_sparsity, &kvp_policy::value_sparsity})
    ExpectRefused(
        plain, [&](kvp_policy& p) { p.output_error = 0.02f, p.*sparsity = 0.1f; }, "output_error chooses");
  Made(snap, [](kvp_policy& p) { p.output_error = 0.02f; });
}

TEST(PolicyTest, EvictsWhileDecodingWhatCanBeRanked) {
  for (const int32_t score : {KVP_TOKENS_RECENCY, KVP_TOKENS_ACCUMULATED_ATTENTION}) {
    kvp_policy source = Evicting(score);
    source.while_decoding = 1;
    const Policy policy =
        Made(source, [](kvp_policy& p) { p.key_channel_sparsity = 0.4f, p.value_sparsity = 0.5f; });
    EXPECT_TRUE(policy.eviction.while_decoding);
    EXPECT_EQ(policy.ScoresWhileDecoding(), score == KVP_TOKENS_ACCUMULATED_ATTENTION);
  }
  for (const int32_t score :
       {KVP_TOKENS_WINDOW_ATTENTION, KVP_TOKENS_EXPECTED_ATTENTION, KVP_TOKENS_RECONSTRUCTION})
    ExpectRefused(
        Evicting(score), [](kvp_policy& p) { p.while_decoding = 1; }, "goes on after the prompt");
  kvp_policy heavy = Evicting(KVP_TOKENS_ACCUMULATED_ATTENTION);
  heavy.while_decoding = 1;
  ExpectRefused(
      heavy, [](kvp_policy& p) { p.weigh_by_value = 1; }, "values are compressed");
  ExpectRefused(
      heavy, [](kvp_policy& p) { p.second_stage = 1; }, "values are compressed");
  ExpectRefused(
      heavy, [](kvp_policy& p) { p.head_budgets = KVP_HEADS_GLOBAL; }, "global");
}

TEST(PolicyTest, KnowsWhatItNeeds) {
  EXPECT_FALSE(Made(Plain()).NeedsObservedQueries());
  const Change observing[] = {
      [](kvp_policy& p) { p.key_channel_sparsity = 0.1f; },
      [](kvp_policy& p) { p.value_channel_sparsity = 0.1f; },
      [](kvp_policy& p) { p.key_score = KVP_KEY_QUERY_MAGNITUDE, p.key_sparsity = 0.1f; },
      [](kvp_policy& p) {
        p.value_score = KVP_VALUE_ATTENTION, p.value_pattern = KVP_PATTERN_PER_CHANNEL,
        p.value_sparsity = 0.1f;
      },
      [](kvp_policy& p) { p.output_error = 0.1f; },
      [](kvp_policy& p) { p.token_score = KVP_TOKENS_WINDOW_ATTENTION, p.pool_kernel = 1; },
  };
  for (const Change& change : observing) {
    EXPECT_TRUE(Made(Plain(), change).NeedsObservedQueries());
    EXPECT_FALSE(Made(Plain(), change).NeedsOutputGram());
  }
  const Change not_observing[] = {
      [](kvp_policy& p) { p.key_score = KVP_KEY_QUERY_RMS; },
      [](kvp_policy& p) { p.key_sparsity = p.value_sparsity = 0.5f; },
      [](kvp_policy& p) { p.value_sparsity = 0.1f, p.value_score = KVP_VALUE_OUTPUT_WEIGHT; },
  };
  for (const Change& change : not_observing) EXPECT_FALSE(Made(Plain(), change).NeedsObservedQueries());
  EXPECT_TRUE(Made(Plain(), not_observing[2]).NeedsOutputGram());

  EXPECT_TRUE(Made(Evicting(KVP_TOKENS_ACCUMULATED_ATTENTION)).NeedsAccumulatedAttention());
  EXPECT_TRUE(Made(Evicting(KVP_TOKENS_EXPECTED_ATTENTION)).NeedsExpectedAttention());
  EXPECT_TRUE(Made(Evicting(KVP_TOKENS_RECONSTRUCTION)).NeedsReconstruction());
  const kvp_policy zip = Evicting(KVP_TOKENS_RECONSTRUCTION);
  EXPECT_FALSE(Made(zip).NeedsOutputGram());
  EXPECT_TRUE(Made(zip, [](kvp_policy& p) { p.weigh_by_value = 1; }).NeedsOutputGram());
  EXPECT_TRUE(Made(zip, [](kvp_policy& p) { p.second_stage = 1; }).NeedsOutputGram());
}

}  // namespace
}  // namespace kvprune
