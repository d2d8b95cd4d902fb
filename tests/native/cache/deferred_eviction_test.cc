#include <gtest/gtest.h>

#include <algorithm>

#include "cache/estimate.h"
#include "cache/eviction_fixture.h"

namespace kvprune::test {
namespace {

TEST(DeferredEviction, LayersAndHeadsShareGlobalBudgets) {
  const ToyModel model(8);
  const Policy policy = Evicting(TokenScore::kWindowAttention, 0.5f, HeadBudgets::kGlobal);
  const auto source = NewSequence(NewManager(), ExactPolicy());
  ASSERT_TRUE(source->OpenDeferredSegment(992, {{policy}}, 0).ok());
  model.Step(*source, 992);
  std::shared_ptr<Sequence> sealed;
  ASSERT_TRUE(source->SealAs(policy, &sealed).ok());
  EXPECT_NEAR(static_cast<double>(AllKept(*sealed)), 4 * 496, 4 * 32);
  kvp_sequence_info info;
  ASSERT_TRUE(sealed->GetInfo(&info).ok());
  const kvp_estimate estimate = EstimateBytes(kShape, policy, 992, 0, 0);
  EXPECT_LE(info.sealed_bytes + info.tail_bytes, estimate.resident_bytes);
  for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sealed, 2e-5);
}

TEST(DeferredEviction, ProbeStepsRankTokensByReconstruction) {
  const ToyModel model(9, 10000.0f);
  const Policy policy = Evicting(TokenScore::kReconstruction, 0.5f);
  const auto source = NewSequence(NewManager(), ExactPolicy());
  ASSERT_TRUE(source->OpenDeferredSegment(300, {{policy}}, 100).ok());
  model.Step(*source, 300);
  std::shared_ptr<Sequence> sealed;
  Status status = source->SealAs(policy, &sealed);
  EXPECT_EQ(status.code(), KVP_INVALID_STATE);
  EXPECT_NE(status.message().find("no probe step"), std::string::npos) << status.message();
  SerialTaskRunner tasks;
  ASSERT_TRUE(source->BeginProbe(100).ok());
  model.RunLayers(*source, tasks);
  ASSERT_TRUE(source->CommitStep().ok());
  status = source->SealAs(policy, &sealed);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(KeptTokensOf(*sealed, 0, 0), 44 + 128);  // 256 leave the window; of 150 kept, 106 of these
  for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sealed, 2e-5);
}

TEST(DeferredEviction, PoliciesOfDeferredSegmentsKeepTheTokensOfOthers) {
  const ToyModel model(12, 10000.0f);
  for (const Policy& policy : {Evicting(TokenScore::kReconstruction, 0.5f),
                               Evicting(TokenScore::kWindowAttention, 0.5f, HeadBudgets::kGlobal)}) {
    const auto manager = NewManager();
    const auto source = NewSequence(manager, policy);
    ASSERT_TRUE(source->OpenDeferredSegment(300, {{policy}}, 50).ok());
    model.Step(*source, 300);
    SerialTaskRunner tasks;
    ASSERT_TRUE(source->BeginProbe(50).ok());
    model.RunLayers(*source, tasks);
    ASSERT_TRUE(source->CommitStep().ok());
    std::shared_ptr<Sequence> sealed;
    ASSERT_TRUE(source->SealAs(policy, &sealed).ok());
    const int64_t estimated = EstimateBytes(kShape, policy, 300, 0, 0, 50).prefill_peak_bytes;
    if (policy.eviction.heads == HeadBudgets::kUniform)
      EXPECT_EQ(BytesInUse(*manager), estimated);
    else
      EXPECT_LE(BytesInUse(*manager), estimated);
    const ReadBack before = Read(*sealed, 1, 0);
    const auto evicted = std::count(before.kept.begin(), before.kept.end(), 0);
    EXPECT_GT(evicted, 0);
    model.Prompt(*sealed, 200);
    const ReadBack after = Read(*sealed, 1, 0);
    EXPECT_EQ(std::count(after.kept.begin(), after.kept.end(), 0), evicted);
    EXPECT_TRUE(std::equal(before.kept.begin(), before.kept.end(), after.kept.begin()));
    for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sealed, 2e-5);
  }
}

TEST(DeferredEviction, RefusesWhatItHasNoRowsFor) {
  const auto refused = [](const Status& status, const char* words) {
    EXPECT_EQ(status.code(), KVP_INVALID_STATE) << words;
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  };
  const auto manager = NewManager();
  const ToyModel model;
  const auto source = NewSequence(manager, ExactPolicy());
  ASSERT_TRUE(source->OpenDeferredSegment(200, {{Evicting(TokenScore::kExpectedAttention, 0.5f)}}, 0).ok());
  const std::vector<float> rows(size_t{200} * kShape.kv_heads * kShape.head_size);
  refused(source->Fill(0, 200, rows.data(), rows.data(), nullptr, 0), "all of its queries");
  model.Step(*source, 200);
  std::shared_ptr<Sequence> sealed;
  refused(source->SealAs(Evicting(TokenScore::kAccumulatedAttention, 0.5f), &sealed),
          "accumulated attention");
  refused(source->SealAs(Evicting(TokenScore::kReconstruction, 0.5f), &sealed), "reconstruction");
  refused(source->SealAs(Evicting(TokenScore::kWindowAttention, 0.5f), &sealed), "last 32 queries");
  Policy sinks = Evicting(TokenScore::kExpectedAttention, 0.5f);
  sinks.eviction.sink_tokens = 9;
  refused(source->SealAs(sinks, &sealed), "first 9 queries");
  Policy weighs = Evicting(TokenScore::kExpectedAttention, 0.5f);
  weighs.eviction.weigh_by_value = true;
  refused(source->SealAs(weighs, &sealed), "Gram matrix");
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kScratch), 0);
}

}  // namespace
}  // namespace kvprune::test
