#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cache/estimate.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

TEST(Rollback, DropsTheStepInEveryLayer) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 100);
  const auto sequence = NewSequence(manager, MixedPolicy());
  SerialTaskRunner tasks;
  const auto abandon = [&](int tokens) {
    ASSERT_TRUE(sequence->BeginStep(tokens).ok());
    ToyModel(99).RunLayers(*sequence, tasks);
    ASSERT_TRUE(sequence->RollbackStep().ok());
  };
  ASSERT_TRUE(sequence->OpenSegment(150).ok());
  abandon(150);  // whole, sealing: nothing was committed, nothing is lost
  model.Step(*sequence, 60);
  abandon(60);
  model.Step(*sequence, 90);
  for (int i = 0; i < 100; ++i) {
    abandon(1);
    model.Step(*sequence, 1);
  }
  ExpectSameCache(*sequence, *expected);
}

TEST(Rollback, OfASealedChunkDropsTheSegmentOnly) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 20);
  model.Prompt(*expected, 150, 100);

  const auto sequence = NewSequence(manager, MixedPolicy());
  SerialTaskRunner tasks;
  model.Prompt(*sequence, 150);
  model.Decode(*sequence, 20);
  ASSERT_TRUE(sequence->OpenSegment(150).ok());
  ToyModel(99).Step(*sequence, 100);
  ASSERT_TRUE(sequence->BeginStep(50).ok());
  ToyModel(99).RunLayers(*sequence, tasks);
  ASSERT_TRUE(sequence->RollbackStep().ok());
  kvp_sequence_info info;
  ASSERT_TRUE(sequence->GetInfo(&info).ok());
  EXPECT_EQ(info.length, 170);
  EXPECT_EQ(info.open_segment_tokens, 0);
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kStaging), 0);
  model.Prompt(*sequence, 150, 100);
  ExpectSameCache(*sequence, *expected);
}

TEST(Rollback, OfAFirstChunkFreesItsRows) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  SerialTaskRunner tasks;
  ASSERT_TRUE(sequence->OpenSegment(150).ok());
  ASSERT_TRUE(sequence->BeginStep(50).ok());
  ASSERT_TRUE(sequence->RollbackStep().ok());
  EXPECT_EQ(sequence->manager().account()->InUse(MemoryUse::kStaging), 0);
}

TEST(Step, CannotBeEndedDuringARun) {
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  ASSERT_TRUE(sequence->BeginStep(1).ok());
  {
    LayerRun run;
    ASSERT_TRUE(LayerRun::Begin(*sequence, 0, &run).ok());
    LayerRun other;
    EXPECT_EQ(LayerRun::Begin(*sequence, 0, &other).code(), KVP_BUSY);
    EXPECT_EQ(LayerRun::Begin(*sequence, 1, &other).code(), KVP_BUSY);
    EXPECT_EQ(sequence->RollbackStep().code(), KVP_BUSY);
    EXPECT_EQ(sequence->CommitStep().code(), KVP_BUSY);
  }
  EXPECT_EQ(sequence->CommitStep().code(), KVP_INVALID_STATE) << "the run ended without completing";
  EXPECT_TRUE(sequence->RollbackStep().ok());
  EXPECT_EQ(sequence->CommitStep().code(), KVP_INVALID_STATE) << "no step is open";
}

TEST(Step, RefusesWhatDoesNotFit) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  EXPECT_EQ(sequence->BeginStep(2).code(), KVP_INVALID_STATE);
  EXPECT_EQ(sequence->OpenSegment(0).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->OpenSegment(kShape.max_tokens + 1).code(), KVP_INVALID_ARGUMENT);
  ASSERT_TRUE(sequence->OpenSegment(10).ok());
  EXPECT_EQ(sequence->OpenSegment(10).code(), KVP_INVALID_STATE);
  EXPECT_EQ(sequence->BeginStep(11).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->BeginStep(0).code(), KVP_INVALID_ARGUMENT);
  std::shared_ptr<Sequence> fork;
  EXPECT_EQ(sequence->Fork(&fork).code(), KVP_INVALID_STATE);
  ASSERT_TRUE(sequence->BeginStep(10).ok());
  EXPECT_EQ(sequence->BeginStep(10).code(), KVP_BUSY);
  EXPECT_EQ(sequence->Rewind(0).code(), KVP_BUSY);
  EXPECT_EQ(sequence->CheckStepComplete().code(), KVP_INVALID_STATE) << "no layer has run";
  SerialTaskRunner tasks;
  model.RunLayers(*sequence, tasks);
  LayerRun again;
  EXPECT_EQ(LayerRun::Begin(*sequence, 0, &again).code(), KVP_INVALID_STATE) << "every layer has run";
  EXPECT_TRUE(sequence->CommitStep().ok());
  EXPECT_EQ(sequence->length(), 10);
}

TEST(Step, StopsAtTheModelsContext) {
  const ToyModel model;
  auto shape = kShape;
  shape.max_tokens = 12;
  const auto sequence = NewSequence(std::make_shared<Manager>(shape, 0), ExactPolicy());
  model.Prompt(*sequence, 11);
  model.Decode(*sequence, 1);
  EXPECT_EQ(sequence->BeginStep(1).code(), KVP_INVALID_ARGUMENT);
}

TEST(Memory, LimitFailsTheStepAndFreesNothingElse) {
  RowsOnlyKernel kernel;
  ToyModel model;
  model.UsePromptKernel(&kernel);
  const auto unlimited = NewManager();
  const auto probe = NewSequence(unlimited, MixedPolicy());
  model.Prompt(*probe, 150);
  const int64_t needed = unlimited->account()->Peak();

  const auto manager = NewManager(needed + 1000);
  const auto first = NewSequence(manager, MixedPolicy());
  model.Prompt(*first, 150);
  std::shared_ptr<Sequence> second;
  Status status = Sequence::Create(manager, MixedPolicy(), &second);
  if (status.ok()) {
    ASSERT_TRUE(second->OpenSegment(150).ok());
    status = second->BeginStep(150);
  }
  EXPECT_EQ(status.code(), KVP_OUT_OF_MEMORY);
  EXPECT_NE(status.message().find("limit"), std::string::npos);
  second.reset();
  ExpectDecodeMatchesRows(model, *first, 2e-2);
}

TEST(Memory, TheEstimateIsEnoughOfALimit) {
  RowsOnlyKernel kernel;
  ToyModel model;
  model.UsePromptKernel(&kernel);
  for (const int chunk : {0, 100}) {
    const kvp_estimate estimate = EstimateBytes(kShape, MixedPolicy(), 500, 200, chunk);
    const auto manager = NewManager(std::max(estimate.prefill_peak_bytes, estimate.resident_bytes));
    const auto sequence = NewSequence(manager, MixedPolicy());
    model.Prompt(*sequence, 500, chunk);
    model.Decode(*sequence, 200);
    EXPECT_EQ(sequence->length(), 700);
  }
}

TEST(Memory, RunningOutWhileSealingFailsTheLayer) {
  RowsOnlyKernel kernel;
  ToyModel model;
  model.UsePromptKernel(&kernel);
  const auto probe_manager = NewManager();
  const auto probe = NewSequence(probe_manager, MixedPolicy());
  model.Prompt(*probe, 1000);
  const int64_t peak = probe_manager->account()->Peak();
  const auto manager = NewManager(peak - 1);
  const auto sequence = NewSequence(manager, MixedPolicy());
  ASSERT_TRUE(sequence->OpenSegment(1000).ok());
  ASSERT_TRUE(sequence->BeginStep(1000).ok());
  SerialTaskRunner tasks;
  EXPECT_TRUE(model.RunLayers(*sequence, tasks).empty());
  EXPECT_EQ(sequence->CheckStepComplete().code(), KVP_INVALID_STATE);
  EXPECT_TRUE(sequence->RollbackStep().ok());
  ASSERT_TRUE(sequence->Rewind(0).ok());
  model.Prompt(*sequence, 300);
  ExpectDecodeMatchesRows(model, *sequence, 2e-2);
}

TEST(Threads, SequencesOfOneManagerDoNotDisturbOneAnother) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  std::vector<std::shared_ptr<Sequence>> sequences(4);
  for (auto& sequence : sequences) ASSERT_TRUE(expected->Fork(&sequence).ok());
  std::vector<std::thread> threads;
  for (auto& sequence : sequences) threads.emplace_back([&] { model.Decode(*sequence, 80); });
  for (auto& thread : threads) thread.join();
  model.Decode(*expected, 80);
  for (auto& sequence : sequences) ExpectSameCache(*sequence, *expected);
}

}  // namespace
}  // namespace kvprune::test
