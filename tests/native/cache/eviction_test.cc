#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cache/estimate.h"
#include "cache/eviction_fixture.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

Policy WithPyramid(Policy policy) {
  policy.eviction.pyramid_slope = 4;
  return policy;
}

Policy WithBudget(Policy policy, int tokens) {
  policy.eviction.sparsity = 0;
  policy.eviction.token_budget = tokens;
  return policy;
}

Policy InInt8(Policy policy) {
  policy.key_storage = policy.value_storage = Storage::kInt8;
  policy.key_channel_sparsity = 0.4f;
  policy.value_sparsity = 0.5f;
  return policy;
}

// Those that seal what they read, layer by layer.
std::vector<Policy> Policies() {
  return {Evicting(TokenScore::kRecency, 0.5f),
          Evicting(TokenScore::kWindowAttention, 0.5f),
          Evicting(TokenScore::kWindowAttention, 0.4f, HeadBudgets::kAdaptive),
          WithPyramid(Evicting(TokenScore::kAccumulatedAttention, 0.6f)),
          Evicting(TokenScore::kAccumulatedAttention, 0.5f, HeadBudgets::kAdaptive),
          Evicting(TokenScore::kExpectedAttention, 0.5f),
          InInt8(Evicting(TokenScore::kWindowAttention, 0.5f)),
          WithBudget(Evicting(TokenScore::kExpectedAttention, 0), 1)};
}

void ExpectSameKept(Sequence& actual, Sequence& expected) {
  ExpectSameCache(actual, expected);
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head)
      EXPECT_EQ(Read(actual, layer, head).kept, Read(expected, layer, head).kept);
}

class Evictions : public testing::TestWithParam<size_t> {
 protected:
  const Policy policy_ = Policies()[GetParam()];
};
INSTANTIATE_TEST_SUITE_P(Methods, Evictions, testing::Range<size_t>(0, 8));

TEST_P(Evictions, DecodingAndFollowingPromptsReadTheRowsThatAreLeft) {
  for (const int64_t window : {0, 70, 250}) {
    const ToyModel model(3, 10000.0f, window);
    const auto sequence = NewSequence(NewManager(), policy_);
    model.Prompt(*sequence, 400, window == 0 ? 0 : 150);
    EXPECT_LT(AllKept(*sequence), 4 * 400);
    for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    model.Decode(*sequence, 70);
    ExpectPromptMatchesRows(model, *sequence, 210, 90, {0, 105, 209});
    ExpectDecodeMatchesRows(model, *sequence, 2e-2);
  }
}

TEST_P(Evictions, ForksAndRewindsHaveTheSameTokens) {
  const ToyModel model(4);
  const auto sequence = NewSequence(NewManager(), policy_);
  model.Prompt(*sequence, 300);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(sequence->Fork(&fork).ok());
  ExpectSameKept(*fork, *sequence);
  model.Decode(*sequence, 100);
  const auto outputs = model.Prompt(*sequence, 250);
  ASSERT_TRUE(sequence->Rewind(300).ok());
  ExpectSameKept(*sequence, *fork);
  model.Decode(*sequence, 100);
  EXPECT_EQ(model.Prompt(*sequence, 250), outputs);
  model.Decode(*fork, 100);
  EXPECT_EQ(model.Prompt(*fork, 250), outputs);
  ExpectSameKept(*fork, *sequence);
}

TEST_P(Evictions, BytesAreThoseOfTheEstimate) {
  for (const int chunk : {0, 77})
    for (const int tokens : {31, 96, 200, 333}) {
      RowsOnlyKernel kernel;
      ToyModel model;
      model.UsePromptKernel(&kernel);
      const auto manager = NewManager();
      const auto sequence = NewSequence(manager, policy_);
      ASSERT_TRUE(sequence->OpenSegment(tokens).ok());
      int64_t staging = 0;
      for (int done = 0; done < tokens;) {
        const int now = chunk > 0 ? std::min(chunk, tokens - done) : tokens;
        ASSERT_TRUE(sequence->BeginStep(now).ok());
        staging = std::max(staging, manager->account()->InUse(MemoryUse::kStaging));
        SerialTaskRunner tasks;
        ASSERT_EQ(model.RunLayers(*sequence, tasks).size(), static_cast<size_t>(kShape.layers));
        ASSERT_TRUE(sequence->CommitStep().ok());
        done += now;
      }
      const bool whole = chunk == 0 || chunk >= tokens;
      EXPECT_EQ(staging, (whole ? 1 : kShape.layers) *
                             PromptRows::Bytes(kShape, PromptNeeds::Of(policy_), tokens, tokens));
      EXPECT_EQ(manager->account()->InUse(MemoryUse::kStaging), 0);
      EXPECT_EQ(manager->account()->InUse(MemoryUse::kScratch), 0);
      model.Decode(*sequence, 70);
      const kvp_estimate estimate = EstimateBytes(kShape, policy_, tokens, 70, chunk);
      // Scratch comes on top.
      EXPECT_GE(manager->account()->Peak(), EstimateBytes(kShape, ExactPolicy(), 0, 0, 0).resident_bytes);
      if (policy_.eviction.heads == HeadBudgets::kUniform)
        EXPECT_EQ(BytesInUse(*manager), estimate.resident_bytes) << tokens;
      else
        EXPECT_LE(BytesInUse(*manager), estimate.resident_bytes) << tokens;
      // What may be evicted takes a bit per token and head.
      EXPECT_LE(estimate.resident_bytes,
                EstimateBytes(kShape, ExactPolicy(), tokens, 70, chunk).resident_bytes + kShape.layers * 128);
    }
}

TEST_P(Evictions, ABudgetOfTheWholePromptEvictsNothing) {
  const ToyModel model(5);
  Policy nothing = policy_;
  nothing.eviction = {};
  const Policy policy = WithBudget(policy_, 10000);
  for (const int tokens : {20, 300}) {
    const auto manager = NewManager();
    const auto sequence = NewSequence(manager, policy);
    model.Prompt(*sequence, tokens);
    const int64_t bytes = BytesInUse(*manager);
    EXPECT_EQ(EstimateBytes(kShape, policy, tokens, 0, 0).resident_bytes, bytes);
    EXPECT_EQ(AllKept(*sequence), 4 * tokens);
    const auto other = NewManager();
    const auto expected = NewSequence(other, nothing);
    model.Prompt(*expected, tokens);
    EXPECT_EQ(BytesInUse(*other), bytes);
    ExpectSameKept(*sequence, *expected);
  }
}

TEST_P(Evictions, ARolledBackStepLeavesNoAttentionBehind) {
  const ToyModel model(6);
  const ToyModel wrong(99);
  const auto expected = NewSequence(NewManager(), policy_);
  model.Prompt(*expected, 300, 150);
  const auto sequence = NewSequence(NewManager(), policy_);
  SerialTaskRunner tasks;
  const auto abandon = [&](int tokens) {
    ASSERT_TRUE(sequence->BeginStep(tokens).ok());
    wrong.RunLayers(*sequence, tasks);
    ASSERT_TRUE(sequence->RollbackStep().ok());
  };
  ASSERT_TRUE(sequence->OpenSegment(300).ok());
  abandon(300);
  abandon(150);
  model.Step(*sequence, 150);
  abandon(10);
  kvp_sequence_info info;
  ASSERT_TRUE(sequence->GetInfo(&info).ok());
  const bool accumulates = PromptNeeds::Of(policy_).Accumulates();
  EXPECT_EQ(info.length, accumulates ? 0 : 150);
  EXPECT_EQ(info.open_segment_tokens, accumulates ? 0 : 150);
  if (accumulates) {
    ASSERT_TRUE(sequence->OpenSegment(300).ok());
    model.Step(*sequence, 150);
  }
  model.Step(*sequence, 150);
  ExpectSameKept(*sequence, *expected);
}

TEST_P(Evictions, OfDeferredSegmentsAreTheSame) {
  const ToyModel model(7, 10000.0f);
  const auto manager = NewManager();
  const auto source = NewSequence(manager, ExactPolicy());
  const auto expected = NewSequence(manager, policy_);
  for (const int chunk : {0, 60}) {
    ASSERT_TRUE(source->OpenDeferredSegment(300, Policies(), 0).ok());
    ASSERT_TRUE(expected->OpenSegment(300).ok());
    for (int done = 0; done < 300; done += chunk == 0 ? 300 : chunk)
      for (Sequence* sequence : {source.get(), expected.get()})
        model.Step(*sequence, chunk == 0 ? 300 : chunk);
    std::shared_ptr<Sequence> sealed;
    const Status status = source->SealAs(policy_, &sealed);
    ASSERT_TRUE(status.ok()) << status.message();
    ExpectSameKept(*sealed, *expected);
    EXPECT_EQ(manager->account()->InUse(MemoryUse::kScratch), 0);
    for (Sequence* sequence : {source.get(), expected.get()}) ASSERT_TRUE(sequence->Rewind(0).ok());
  }
}

// One step that reads a whole segment with the given queries, and rows of which every value is 1.
Status ReadWith(Sequence& sequence, int tokens, const std::vector<float>& queries) {
  std::vector<float> rows(static_cast<size_t>(tokens) * kShape.kv_heads * kShape.head_size, 1.0f);
  std::vector<float> output(queries.size());
  SerialTaskRunner tasks;
  LayerParameters parameters;
  parameters.scale = 0.1f;
  for (parameters.layer = 0; parameters.layer < kShape.layers; ++parameters.layer) {
    LayerRun run;
    Status status = LayerRun::Begin(sequence, parameters.layer, &run);
    if (status.ok())
      status = RunPromptLayer(
          parameters, {&sequence, queries.data(), rows.data(), rows.data(), output.data()}, nullptr, tasks);
    if (!status.ok()) return status;
    run.Complete();
  }
  return sequence.CommitStep();
}

TEST_P(Evictions, QueriesThatAreNotFiniteAreRefused) {
  constexpr int kTokens = 200;
  const auto sequence = NewSequence(NewManager(), policy_);
  ASSERT_TRUE(sequence->OpenSegment(kTokens).ok());
  ASSERT_TRUE(sequence->BeginStep(kTokens).ok());
  const int64_t width = static_cast<int64_t>(kShape.query_heads) * kShape.head_size;
  std::vector<float> queries(static_cast<size_t>(kTokens * width), 0.5f);
  queries[(kTokens - 3) * width + kShape.head_size * 2] = NAN;
  const Status status = ReadWith(*sequence, kTokens, queries);
  if (policy_.eviction.score == TokenScore::kRecency) {
    EXPECT_TRUE(status.ok()) << "does without queries: " << status.message();
    return;
  }
  EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT) << status.message();
  EXPECT_NE(status.message().find("KV head 1"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("not finite"), std::string::npos) << status.message();
  ASSERT_TRUE(sequence->RollbackStep().ok());
  EXPECT_EQ(sequence->length(), 0);
}

TEST(Eviction, OfEqualScoresTheEarlierTokensStay) {
  constexpr int kTokens = 320;
  const std::vector<float> queries(size_t{kTokens} * kShape.query_heads * kShape.head_size, 0.0f);
  for (const Policy& policy : {Evicting(TokenScore::kWindowAttention, 0.5f),
                               Evicting(TokenScore::kWindowAttention, 0.4f, HeadBudgets::kAdaptive),
                               Evicting(TokenScore::kExpectedAttention, 0.6f)}) {
    const auto sequence = NewSequence(NewManager(), policy);
    ASSERT_TRUE(sequence->OpenSegment(kTokens).ok());
    ASSERT_TRUE(sequence->BeginStep(kTokens).ok());
    const Status status = ReadWith(*sequence, kTokens, queries);
    ASSERT_TRUE(status.ok()) << status.message();
    for (int layer = 0; layer < kShape.layers; ++layer)
      for (int head = 0; head < kShape.kv_heads; ++head) {
        const ReadBack rows = Read(*sequence, layer, head);
        const auto evicted = std::find(rows.kept.begin(), rows.kept.end(), 0) - rows.kept.begin();
        EXPECT_LT(evicted, 256);
        EXPECT_EQ(evicted % kTileTokens, 0);
        EXPECT_EQ(std::count(rows.kept.begin() + evicted, rows.kept.begin() + 256, 1), 0);
      }
  }
}

TEST(Eviction, RecencyKeepsSinksAndTheNewest) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), Evicting(TokenScore::kRecency, 0.5f));
  model.Prompt(*sequence, 352);  // 320 leave the window; of 176 kept, 144 of these: 128 in whole tiles
  const ReadBack rows = Read(*sequence, 1, 1);
  for (int token = 0; token < 352; ++token)
    EXPECT_EQ(rows.kept[token], token < 4 || token >= 320 - 124 ? 1 : 0) << token;
}

}  // namespace
}  // namespace kvprune::test
