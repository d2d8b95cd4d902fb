#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "cache/estimate.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

std::shared_ptr<Manager> NewManager(int64_t byte_limit = 0) {
  return std::make_shared<Manager>(kShape, byte_limit);
}

void ExpectSameCache(Sequence& actual, Sequence& expected) {
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const ReadBack a = Read(actual, layer, head);
      const ReadBack b = Read(expected, layer, head);
      ASSERT_EQ(a.keys, b.keys) << "layer " << layer << " head " << head;
      ASSERT_EQ(a.values, b.values) << "layer " << layer << " head " << head;
    }
}

// The new token's output against double-precision attention over the rows that the cache held before it and
// its own.
void ExpectDecodeMatchesRows(const ToyModel& model, Sequence& sequence, double tolerance) {
  std::vector<ReadBack> held;
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      ReadBack rows = Read(sequence, layer, head);
      const auto key = model.Key(layer, sequence.length(), head);
      const auto value = model.Value(layer, sequence.length(), head);
      rows.keys.insert(rows.keys.end(), key.begin(), key.end());
      rows.values.insert(rows.values.end(), value.begin(), value.end());
      held.push_back(std::move(rows));
    }
  const auto outputs = model.Step(sequence, 1);
  const int64_t length = sequence.length();
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.query_heads; ++head) {
      const ReadBack& rows = held[layer * kShape.kv_heads + head / kShape.group()];
      const auto expected = ToyModel::Attend(model.Query(layer, length - 1, head), rows.keys.data(),
                                             rows.values.data(), length);
      double error = 0;
      double norm = 0;
      for (int j = 0; j < kShape.head_size; ++j) {
        error += std::pow(outputs[layer][head * kShape.head_size + j] - expected[j], 2);
        norm += std::pow(expected[j], 2);
      }
      EXPECT_LE(std::sqrt(error / norm), tolerance)
          << "length " << length << " layer " << layer << " head " << head;
    }
}

class PromptLengths : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(TileAndWindowBorders, PromptLengths,
                         testing::Values(1, 31, 32, 33, 63, 64, 65, 95, 96, 97, 159, 160, 161, 300));

TEST_P(PromptLengths, ExactPolicyKeepsEveryRotatedRow) {
  const ToyModel model(3, 10000.0f);
  const auto sequence = NewSequence(NewManager(), ExactPolicy());
  model.Prompt(*sequence, GetParam());
  model.Decode(*sequence, 70);
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const ReadBack rows = Read(*sequence, layer, head);
      for (int64_t t = 0; t < sequence->length(); ++t) {
        const auto key = model.Key(layer, t, head);
        const auto value = model.Value(layer, t, head);
        for (int j = 0; j < kShape.head_size; ++j) {
          ASSERT_NEAR(rows.keys[t * kShape.head_size + j], key[j], 2e-5) << t;
          ASSERT_EQ(rows.values[t * kShape.head_size + j], value[j]) << t;
        }
      }
    }
  ExpectDecodeMatchesRows(model, *sequence, 1e-5);
}

TEST_P(PromptLengths, PrunedDecodeMatchesTheRowsItHolds) {
  const ToyModel model(4, 10000.0f);
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*sequence, GetParam());
  for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sequence, 2e-2);
}

TEST_P(PromptLengths, ChunksLeaveTheSameCacheAsOneRun) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto whole = NewSequence(manager, MixedPolicy());
  model.Prompt(*whole, GetParam());
  for (const int chunk : {1, 7, 64}) {
    const auto chunked = NewSequence(manager, MixedPolicy());
    model.Prompt(*chunked, GetParam(), chunk);
    ExpectSameCache(*chunked, *whole);
  }
}

TEST_P(PromptLengths, BytesEqualTheEstimate) {
  const ToyModel model;
  for (const Policy& policy : {ExactPolicy(), MixedPolicy()})
    for (const int chunk : {0, 50})
      for (const int generated : {0, 40, 130}) {
        const auto manager = NewManager();
        const auto sequence = NewSequence(manager, policy);
        model.Prompt(*sequence, GetParam(), chunk);
        const kvp_estimate estimate = EstimateBytes(kShape, policy, GetParam(), generated, chunk);
        EXPECT_EQ(manager->account()->Peak(), estimate.prefill_peak_bytes) << "chunk " << chunk;
        model.Decode(*sequence, generated);
        EXPECT_EQ(BytesInUse(*manager), estimate.resident_bytes)
            << "chunk " << chunk << " generated " << generated;
      }
}

TEST_P(PromptLengths, FollowUpSegmentMatchesTheRowsItHolds) {
  const ToyModel model(5, 10000.0f);
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*sequence, 200);
  model.Decode(*sequence, 5);
  // Causal attention of the segment over the compressed past: token i sees the past and tokens 0..i.
  std::vector<ReadBack> past;
  for (int head = 0; head < kShape.kv_heads; ++head) past.push_back(Read(*sequence, 1, head));
  const int64_t start = sequence->length();
  const auto outputs = model.Prompt(*sequence, GetParam(), 40);
  const int size = kShape.head_size;
  for (int token : {0, GetParam() / 2, GetParam() - 1})
    for (int head = 0; head < kShape.query_heads; ++head) {
      ReadBack rows = past[head / kShape.group()];
      for (int64_t t = start; t <= start + token; ++t) {
        const auto key = model.Key(1, t, head / kShape.group());
        const auto value = model.Value(1, t, head / kShape.group());
        rows.keys.insert(rows.keys.end(), key.begin(), key.end());
        rows.values.insert(rows.values.end(), value.begin(), value.end());
      }
      const auto expected = ToyModel::Attend(model.Query(1, start + token, head), rows.keys.data(),
                                             rows.values.data(), start + token + 1);
      double error = 0;
      double norm = 0;
      for (int j = 0; j < size; ++j) {
        error += std::pow(outputs[1][(token * kShape.query_heads + head) * size + j] - expected[j], 2);
        norm += expected[j] * expected[j];
      }
      EXPECT_LE(std::sqrt(error / norm), 2e-2) << "token " << token << " head " << head;
    }
}

TEST(Rewind, ToACheckpointContinuesAsTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 100);

  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 150);
  ToyModel(99).Decode(*sequence, 80);  // other tokens, far enough to seal
  ASSERT_TRUE(sequence->Rewind(150).ok());
  model.Decode(*sequence, 100);
  ExpectSameCache(*sequence, *expected);
  ASSERT_TRUE(sequence->Rewind(150).ok()) << "the checkpoint outlives a rewind to it";
  model.Decode(*sequence, 100);
  ExpectSameCache(*sequence, *expected);
}

TEST(Rewind, InsideTheTailContinuesAsTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 70);
  model.Decode(*expected, 60);
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 70);
  model.Decode(*sequence, 3);
  ToyModel(99).Decode(*sequence, 5);
  ASSERT_TRUE(sequence->Rewind(73).ok());
  model.Decode(*sequence, 57);
  ExpectSameCache(*sequence, *expected);
}

TEST(Rewind, ElsewhereIsRefusedAndChangesNothing) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*sequence, 200);
  model.Decode(*sequence, 90);
  EXPECT_EQ(sequence->Rewind(100).code(), KVP_NOT_REWINDABLE);
  EXPECT_EQ(sequence->Rewind(291).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->Rewind(-1).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->length(), 290);
  ExpectDecodeMatchesRows(model, *sequence, 2e-2);
}

TEST(Rewind, DropsAnOpenSegment) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 80);
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 80);
  ASSERT_TRUE(sequence->OpenSegment(50).ok());
  model.Step(*sequence, 20);
  EXPECT_EQ(sequence->Rewind(90).code(), KVP_NOT_REWINDABLE);
  ASSERT_TRUE(sequence->Rewind(80).ok());
  ExpectSameCache(*sequence, *expected);
  EXPECT_EQ(sequence->manager().account()->InUse(MemoryUse::kStaging), 0);
}

TEST(Rewind, ToNothingStartsAfresh) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 130);
  const auto sequence = NewSequence(manager, MixedPolicy());
  ToyModel(7).Prompt(*sequence, 180);
  ASSERT_TRUE(sequence->Rewind(0).ok());
  model.Prompt(*sequence, 130);
  ExpectSameCache(*sequence, *expected);
}

TEST(Fork, BothSidesContinueAsIfAlone) {
  const ToyModel model;
  const ToyModel other(42);
  const auto manager = NewManager();
  const auto original = NewSequence(manager, MixedPolicy());
  model.Prompt(*original, 150);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(original->Fork(&fork).ok());
  kvp_sequence_info info;
  ASSERT_TRUE(fork->GetInfo(&info).ok());
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kSealed), info.sealed_bytes)
      << "tiles are shared, not copied";

  ASSERT_TRUE(fork->Checkpoint().ok());
  other.Decode(*fork, 90);
  model.Decode(*original, 90);
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 90);
  ExpectSameCache(*original, *expected);
  const auto expected_fork = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected_fork, 150);
  other.Decode(*expected_fork, 90);
  ExpectSameCache(*fork, *expected_fork);

  ASSERT_TRUE(fork->Rewind(150).ok());
  model.Decode(*fork, 90);
  ExpectSameCache(*fork, *expected);
}

TEST(Fork, OutlivesTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  auto original = NewSequence(manager, MixedPolicy());
  model.Prompt(*original, 150);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(original->Fork(&fork).ok());
  original.reset();
  ExpectDecodeMatchesRows(model, *fork, 2e-2);
  fork.reset();
  EXPECT_EQ(BytesInUse(*manager), 0);
  EXPECT_EQ(manager->sequences(), 0);
}

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
  const ToyModel model;
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

TEST(Memory, RunningOutWhileSealingFailsTheLayer) {
  const ToyModel model;
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
