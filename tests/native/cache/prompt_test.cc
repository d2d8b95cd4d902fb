#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "cache/estimate.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

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

// A window that ends in the tail, at its border, in a tile, and in a slab before the last one.
TEST_P(PromptLengths, WindowedDecodeMatchesTheRowsItSees) {
  for (const int64_t window : {1, 32, 33, 64, 96, 97, 130}) {
    const ToyModel model(5, 10000.0f, window);
    const auto sequence = NewSequence(NewManager(), MixedPolicy());
    model.Prompt(*sequence, GetParam());
    ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    model.Decode(*sequence, 66);
    ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    model.Prompt(*sequence, 70, 33);
    ExpectDecodeMatchesRows(model, *sequence, 2e-2);
  }
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
  RowsOnlyKernel kernel;
  ToyModel model;
  model.UsePromptKernel(&kernel);
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

// Causal attention of a segment over the compressed past, token i seeing the past and tokens 0..i within the
// model's window, in double precision over the rows that the cache holds.
void ExpectFollowUpMatchesRows(int tokens, int64_t window) {
  SCOPED_TRACE("window " + std::to_string(window));
  const ToyModel model(5, 10000.0f, window);
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*sequence, 200);
  model.Decode(*sequence, 75);  // a slab of its own, and rows in the tail
  ExpectPromptMatchesRows(model, *sequence, tokens, 170, {0, tokens / 2, tokens - 1});
}

TEST_P(PromptLengths, FollowUpSegmentMatchesTheRowsItHolds) {
  for (const int64_t window : {0, 33, 250}) ExpectFollowUpMatchesRows(GetParam(), window);
}

// Split-K: one chunk, several, a short last one.
TEST(Decode, OfLongPastsMatchesTheRowsItHolds) {
  RowsOnlyKernel kernel;
  for (const int64_t window : {0, 700}) {
    for (const int tokens : {543, 544, 1023, 1024, 1025, 1200, 3000}) {
      ToyModel model(6, 0, window);
      model.UsePromptKernel(&kernel);
      const auto sequence = NewSequence(NewManager(), MixedPolicy());
      model.Prompt(*sequence, tokens);
      ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    }
  }
}

// Tasks on threads of their own.
class ThreadTaskRunner final : public TaskRunner {
 protected:
  void Run(size_t count, void (*task)(void*, size_t), void* context) override {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; ++i) threads.emplace_back(task, context, i);
    for (auto& thread : threads) thread.join();
  }
};

TEST(FollowUp, ThreadsDoNotChangeTheResult) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 400);
  ASSERT_TRUE(sequence->OpenSegment(300).ok());
  ASSERT_TRUE(sequence->BeginStep(300).ok());
  ThreadTaskRunner threads;
  const auto threaded = model.RunLayers(*sequence, threads);
  ASSERT_TRUE(sequence->RollbackStep().ok());
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kScratch), 0);
  ASSERT_TRUE(sequence->BeginStep(300).ok());
  SerialTaskRunner serial;
  EXPECT_EQ(threaded, model.RunLayers(*sequence, serial));
  ASSERT_TRUE(sequence->CommitStep().ok());
}

}  // namespace
}  // namespace kvprune::test
