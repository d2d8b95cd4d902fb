// Sequences whose heads keep different tokens in different formats.
#include <algorithm>
#include <cmath>

#include "cache/model_fixture.h"
#include "cache/pack_ahead.h"
#include "cache/ragged_fixture.h"

namespace kvprune::test {
namespace {

// Reads a segment of `tokens` tokens and seals every head of every layer under a plan of its own; where
// `one_head`, head 0 keeps everything and the others nothing.
void SealRagged(const ToyModel& model, Sequence& sequence, int tokens, uint32_t seed, bool one_head = false) {
  std::mt19937 random(seed);
  ASSERT_TRUE(sequence.OpenSegment(tokens).ok());
  ASSERT_TRUE(sequence.BeginStep(tokens).ok());
  const int64_t past = sequence.dense_rows(), rows = past + tokens;
  const int64_t span = sequence.policy().SealableTiles(rows) * kTileTokens;
  for (int layer = 0; layer < kShape.layers; ++layer) {
    LayerRun run;
    ASSERT_TRUE(LayerRun::Begin(sequence, layer, &run).ok());
    const PromptRows& prompt = sequence.PreparePromptRows(layer);
    std::vector<HeadPlan> plans;
    std::vector<Rows> keys(kShape.kv_heads), values(kShape.kv_heads);
    for (int head = 0; head < kShape.kv_heads; ++head) {
      for (int64_t row = past; row < rows; ++row) {
        const auto key = model.Key(layer, sequence.length() + row - past, head);
        const auto value = model.Value(layer, sequence.length() + row - past, head);
        std::copy(key.begin(), key.end(), prompt.keys(head) + row * kShape.head_size);
        std::copy(value.begin(), value.end(), prompt.values(head) + row * kShape.head_size);
      }
      for (int64_t row = 0; row < span; ++row) {
        const auto first = row * kShape.head_size, end = first + kShape.head_size;
        keys[head].emplace_back(prompt.keys(head) + first, prompt.keys(head) + end);
        values[head].emplace_back(prompt.values(head) + first, prompt.values(head) + end);
      }
      const int all = static_cast<int>(span / kTileTokens);
      plans.push_back(RandomPlan(kShape.head_size, span, !one_head ? -1 : head == 0 ? all : 0, &random));
    }
    auto slab = PackSlab(sequence.manager().account(), span, plans, keys, values);
    const DenseTail& tail = sequence.FinishSealedLayer(layer, std::move(slab));
    SerialTaskRunner tasks;
    std::shared_ptr<TileSlab> packed;
    const int64_t sealed = sequence.sealed_tokens();
    ASSERT_TRUE(PackAheadOfPrompt(sequence.manager(), sequence.policy(), tail, sealed + span, sealed + rows,
                                  layer, tasks, &packed)
                    .ok());
    sequence.KeepPacked(layer, std::move(packed));
    run.Complete();
  }
  ASSERT_TRUE(sequence.CommitStep().ok());
}

void ExpectExactBytes(Sequence& sequence) {
  kvp_sequence_info info;
  ASSERT_TRUE(sequence.GetInfo(&info).ok());
  EXPECT_EQ(info.sealed_bytes, sequence.manager().account()->InUse(MemoryUse::kSealed));
}

class RaggedWindows : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Windows, RaggedWindows, testing::Values(0, 20, 100, 333));

// int8 and int4 kernels round queries and weights.
constexpr double kTolerance = 5e-3;

TEST_P(RaggedWindows, DecodingMatchesTheRowsThatHeadsKept) {
  const ToyModel model(3, 10000.0f, GetParam());
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const auto sequence = NewSequence(NewManager(), ExactPolicy());
    SealRagged(model, *sequence, 400, seed);
    for (int i = 0; i < 3; ++i) ExpectDecodeMatchesRows(model, *sequence, kTolerance);
    model.Decode(*sequence, 130);  // slabs without evicted rows behind it
    ExpectDecodeMatchesRows(model, *sequence, kTolerance);
    ExpectExactBytes(*sequence);
    SealRagged(model, *sequence, 250, seed + 10);
    ExpectDecodeMatchesRows(model, *sequence, kTolerance);
    ExpectExactBytes(*sequence);
  }
}

TEST_P(RaggedWindows, FollowUpsMatchTheRowsThatHeadsKept) {
  const ToyModel model(4, 10000.0f, GetParam());
  const int tokens = 290;
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const auto sequence = NewSequence(NewManager(), ExactPolicy());
    SealRagged(model, *sequence, 400, seed);
    model.Decode(*sequence, 75);
    SCOPED_TRACE("seed " + std::to_string(seed));
    ExpectPromptMatchesRows(model, *sequence, tokens, 170, {0, 1, 64, 169, 170, tokens - 1});
  }
}

// One decode step of several sequences in one call; returns the outputs of each.
std::vector<std::vector<float>> DecodeTogether(const std::vector<Sequence*>& sequences, int layer,
                                               TaskRunner& tasks) {
  const ToyModel model(5);
  std::vector<std::vector<float>> query, key, value, output;
  std::vector<LayerRows> batch;
  std::vector<LayerRun> runs(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    query.emplace_back();
    key.emplace_back();
    value.emplace_back();
    for (int head = 0; head < kShape.query_heads; ++head) {
      const auto row = model.Query(layer, sequences[i]->length(), head);
      query[i].insert(query[i].end(), row.begin(), row.end());
    }
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const auto k = model.Key(layer, sequences[i]->length(), head),
                 v = model.Value(layer, sequences[i]->length(), head);
      key[i].insert(key[i].end(), k.begin(), k.end());
      value[i].insert(value[i].end(), v.begin(), v.end());
    }
    output.emplace_back(query[i].size());
    EXPECT_TRUE(LayerRun::Begin(*sequences[i], layer, &runs[i]).ok());
  }
  for (size_t i = 0; i < sequences.size(); ++i)
    batch.push_back({sequences[i], query[i].data(), key[i].data(), value[i].data(), output[i].data()});
  LayerParameters parameters;
  parameters.layer = layer;
  parameters.scale = 0.25f;
  EXPECT_TRUE(RunDecodeLayer(parameters, batch, tasks).ok());
  return output;
}

TEST(Ragged, BatchesSplitTheSumsAsSingleSequencesDo) {
  const ToyModel model(5);
  const auto manager = NewManager();
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (const int tokens : {40, 2100, 4500, 700}) {
    sequences.push_back(NewSequence(manager, ExactPolicy()));
    SealRagged(model, *sequences.back(), tokens, static_cast<uint32_t>(tokens));
  }
  SerialTaskRunner tasks;
  std::vector<Sequence*> all;
  for (const auto& sequence : sequences) {
    ASSERT_TRUE(sequence->BeginStep(1).ok());
    all.push_back(sequence.get());
  }
  const auto together = DecodeTogether(all, 0, tasks);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(all[i]->RollbackStep().ok());
    ASSERT_TRUE(all[i]->BeginStep(1).ok());
    EXPECT_EQ(DecodeTogether({all[i]}, 0, tasks)[0], together[i]) << i;
  }
}

class CountingTaskRunner final : public TaskRunner {
 public:
  size_t count = 0;

 protected:
  void Run(size_t tasks, void (*task)(void*, size_t), void* context) override {
    count = tasks;
    for (size_t i = 0; i < tasks; ++i) task(context, i);
  }
};

TEST(Ragged, OneHeadWithAllTheTilesMakesManyTasks) {
  const ToyModel model(5);
  const auto sequence = NewSequence(NewManager(), ExactPolicy());
  SealRagged(model, *sequence, 100 * kTileTokens + 32, 9, true);
  ASSERT_EQ(sequence->slabs(0).Tiles(0), 100);
  ASSERT_EQ(sequence->slabs(0).Tiles(1), 0);
  ASSERT_TRUE(sequence->BeginStep(1).ok());
  CountingTaskRunner tasks;
  DecodeTogether({sequence.get()}, 0, tasks);
  EXPECT_GE(tasks.count, 13u);
}

TEST(Ragged, RewindingAndForkingKeepWhatHeadsKept) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, ExactPolicy()), expected = NewSequence(manager, ExactPolicy());
  for (const auto& each : {sequence, expected}) SealRagged(model, *each, 333, 7);
  ToyModel(99).Decode(*sequence, 100);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(sequence->Fork(&fork).ok());
  ASSERT_TRUE(sequence->Rewind(333).ok());
  model.Decode(*sequence, 90);
  model.Decode(*expected, 90);
  ExpectSameCache(*sequence, *expected);
  EXPECT_EQ(Read(*fork, 1, 1).kept, [&] {
    auto kept = Read(*expected, 1, 1).kept;
    kept.resize(433, 1);
    return kept;
  }());
  const auto kept = Read(*sequence, 0, 0).kept;
  EXPECT_TRUE(std::count(kept.begin(), kept.end(), 0) % kTileTokens == 0);
}

}  // namespace
}  // namespace kvprune::test
