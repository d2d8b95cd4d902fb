#include "cache/pack_ahead.h"

#include <gtest/gtest.h>

#include <ctime>

#include "cache/estimate.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

int PackedBy(const Sequence& sequence) {
  int packed = 0;
  for (int layer = 0; layer < sequence.shape().layers; ++layer)
    packed += sequence.StepPacks(layer) != nullptr ? 1 : 0;
  return packed;
}

// A step whose rows nobody will read: only what the cache does around them counts. Returns the layers packed.
int EmptyStep(Sequence& sequence, int tokens) {
  EXPECT_TRUE(sequence.BeginStep(tokens).ok());
  const ModelShape& shape = sequence.shape();
  const std::vector<float> query(static_cast<size_t>(tokens) * shape.query_heads * shape.head_size, 0.5f);
  const std::vector<float> key(static_cast<size_t>(tokens) * shape.kv_heads * shape.head_size, 0.25f);
  std::vector<float> output(query.size());
  SerialTaskRunner tasks;
  RowsOnlyKernel dense;
  for (int layer = 0; layer < shape.layers; ++layer) {
    LayerParameters parameters;
    parameters.layer = layer;
    parameters.scale = 1;
    const LayerRows rows = {&sequence, query.data(), key.data(), key.data(), output.data()};
    LayerRun run;
    EXPECT_TRUE(LayerRun::Begin(sequence, layer, &run).ok());
    const Status status = sequence.StepIsPrompt() ? RunPromptLayer(parameters, rows, &dense, tasks)
                                                  : RunDecodeLayer(parameters, {&rows, 1}, tasks);
    EXPECT_TRUE(status.ok()) << status.message();
    run.Complete();
  }
  const int packed = PackedBy(sequence);
  EXPECT_TRUE(sequence.CommitStep().ok());
  return packed;
}

int64_t Resident(const Manager& manager) {
  return BytesInUse(manager);
}

class PackedLayers : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Windows, PackedLayers, testing::Values(0, 1, 32, 64, 200));

// No step packs more layers than an even spread over the steps that there are.
TEST_P(PackedLayers, AreSpreadOverTheSteps) {
  const int window = GetParam();
  Policy policy = MixedPolicy();
  policy.recent_window = window;
  const int steps = std::min(window, kTileTokens);
  for (const int layers : {1, 16, 80}) {
    const ModelShape shape = {layers, 1, 1, 8, 4096};
    for (const int prompt : {0, 63, window + 40, window + 63, window + 64}) {
      const auto manager = std::make_shared<Manager>(shape, 0);
      const auto sequence = NewSequence(manager, policy);
      if (prompt > 0) {
        ASSERT_TRUE(sequence->OpenSegment(prompt).ok());
        EmptyStep(*sequence, prompt);
      }
      const int most = steps == 0 ? layers : (layers + steps - 1) / steps;
      for (int step = 1; step <= 150; ++step) {
        EXPECT_LE(EmptyStep(*sequence, 1), most)
            << "window " << window << " layers " << layers << " prompt " << prompt << " step " << step;
        ASSERT_EQ(Resident(*manager), EstimateBytes(shape, policy, prompt, step, 0).resident_bytes)
            << "window " << window << " layers " << layers << " prompt " << prompt << " step " << step;
      }
      EXPECT_EQ(sequence->sealed_tokens() / kTileTokens,
                policy.SealableTiles(prompt) +
                    policy.SealableTiles(prompt - 64 * policy.SealableTiles(prompt) + 150));
    }
  }
}

// Rewinding drops the packed tiles; the rest of the steps share the work.
TEST(PackAhead, SpreadsWhatRewindingUndid) {
  const ModelShape shape = {16, 1, 1, 8, 4096};
  const auto sequence = NewSequence(std::make_shared<Manager>(shape, 0), MixedPolicy());
  ASSERT_TRUE(sequence->OpenSegment(150).ok());
  EmptyStep(*sequence, 150);  // leaves 86 rows: 10 steps until the tail is full
  for (int step = 0; step < 40; ++step) EmptyStep(*sequence, 1);
  ASSERT_TRUE(sequence->Rewind(150).ok());
  int packed = 0;
  for (int step = 0; step < 10; ++step) {
    const int now = EmptyStep(*sequence, 1);
    EXPECT_LE(now, 2) << step;
    packed += now;
  }
  EXPECT_EQ(packed, 16);
  EXPECT_EQ(sequence->sealed_tokens(), 128);
}

TEST(PackAhead, TilesAreThoseThatSealingWouldMake) {
  const ToyModel model;
  const auto manager = NewManager();
  Policy at_once = MixedPolicy();
  at_once.recent_window = 0;
  // The same rows without a window are packed by the very step that fills the tile.
  const auto expected = NewSequence(manager, at_once);
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Decode(*expected, 200);
  model.Decode(*sequence, 200);
  ASSERT_EQ(sequence->sealed_tokens(), 128);
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      ReadBack a = Read(*sequence, layer, head);
      ReadBack b = Read(*expected, layer, head);
      for (auto* rows : {&a.keys, &a.values, &b.keys, &b.values}) rows->resize(128 * kShape.head_size);
      EXPECT_EQ(a.keys, b.keys);
      EXPECT_EQ(a.values, b.values);
    }
}

// Before, at and after every stage of packing: rewind within the tail, fork, roll back, and go on.
TEST(PackAhead, HistoriesThatEndAlikeLeaveTheSameCache) {
  const ToyModel model;
  const ToyModel other(99);
  SerialTaskRunner tasks;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 40);
  model.Decode(*expected, 100);
  // From 24 tokens on there is a whole tile to pack; 56 fill the tail.
  for (const int before : {20, 23, 24, 25, 26, 40, 54, 55}) {
    SCOPED_TRACE(before);
    const auto sequence = NewSequence(manager, MixedPolicy());
    model.Prompt(*sequence, 40);
    model.Decode(*sequence, before);
    other.Decode(*sequence, 55 - before);
    ASSERT_TRUE(sequence->Rewind(40 + before).ok());
    std::shared_ptr<Sequence> fork;
    ASSERT_TRUE(sequence->Fork(&fork).ok());
    ASSERT_TRUE(sequence->BeginStep(1).ok());
    other.RunLayers(*sequence, tasks);
    ASSERT_TRUE(sequence->RollbackStep().ok());
    other.Decode(*fork, 70);
    model.Decode(*sequence, 100 - before);
    ExpectSameCache(*sequence, *expected);

    const auto expected_fork = NewSequence(manager, MixedPolicy());
    model.Prompt(*expected_fork, 40);
    model.Decode(*expected_fork, before);
    other.Decode(*expected_fork, 70);
    ExpectSameCache(*fork, *expected_fork);
  }
}

double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// What surrounds the attention of a step must not grow with the answer.
TEST(LongAnswers, BookkeepingStaysFlat) {
  constexpr int kSteps = 20000;
  constexpr int kQuarter = kSteps / 4;
  const ModelShape shape = {2, 1, 1, 8, 1 << 20};
  const auto sequence = NewSequence(std::make_shared<Manager>(shape, 0), MixedPolicy());
  double first = 0;
  double last = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double start = ProcessorSeconds();
    ASSERT_TRUE(sequence->BeginStep(1).ok());
    for (int layer = 0; layer < shape.layers; ++layer) {
      LayerRun run;
      ASSERT_TRUE(LayerRun::Begin(*sequence, layer, &run).ok());
      run.Complete();
    }
    kvp_sequence_info info;
    ASSERT_TRUE(sequence->CommitStep().ok());
    ASSERT_TRUE(sequence->GetInfo(&info).ok());
    // One of the newest slabs, as a decode step's last chunk looks it up.
    const SlabList& slabs = sequence->slabs(0);
    if (info.sealed_tokens > 0)
      ASSERT_EQ(slabs.Find(0, info.sealed_tokens / kTileTokens - 1), slabs.size() - 1);
    const double seconds = ProcessorSeconds() - start;
    if (step < kQuarter) first += seconds;
    if (step >= kSteps - kQuarter) last += seconds;
  }
  EXPECT_EQ(sequence->slabs(0).size(), static_cast<size_t>((kSteps - 32) / kTileTokens));
  EXPECT_LT(last, 2 * first) << "per step: " << first / kQuarter * 1e6 << " us, then "
                             << last / kQuarter * 1e6;
}

}  // namespace
}  // namespace kvprune::test
