#include <gtest/gtest.h>

#include <algorithm>

#include "cache/decode_upkeep.h"
#include "cache/estimate.h"
#include "cache/eviction_fixture.h"
#include "pruning/eviction_budget.h"

namespace kvprune::test {
namespace {

Policy Decoding(Policy policy) {
  policy.eviction.while_decoding = true;
  return policy;
}

Policy WithBudget(Policy policy, int tokens) {
  policy.eviction.sparsity = 0;
  policy.eviction.token_budget = tokens;
  return policy;
}

// Channels of the prompt's K and elements of all V are removed too.
Policy Composed(Policy policy) {
  policy.key_storage = policy.value_storage = Storage::kInt8;
  policy.key_channel_sparsity = 0.4f;
  policy.value_sparsity = 0.5f;
  return policy;
}

std::vector<Policy> Policies() {
  Policy narrow = WithBudget(Evicting(TokenScore::kAccumulatedAttention, 0), 200);
  narrow.recent_window = 0;
  narrow.eviction.sink_tokens = 70;
  Policy by_channel = Evicting(TokenScore::kAccumulatedAttention, 0.6f);
  by_channel.key_storage = by_channel.value_storage = Storage::kInt4;
  by_channel.value_sparsity = 0.5f;
  by_channel.value_pattern = SparsityPattern::kPerChannel;
  return {Decoding(by_channel),
          Decoding(WithBudget(Evicting(TokenScore::kAccumulatedAttention, 0), 300)),
          Decoding(Evicting(TokenScore::kAccumulatedAttention, 0.5f)),
          Decoding(Evicting(TokenScore::kAccumulatedAttention, 0.5f, HeadBudgets::kAdaptive)),
          Decoding(WithBudget(Evicting(TokenScore::kRecency, 0), 250)),
          Decoding(Composed(Evicting(TokenScore::kAccumulatedAttention, 0.5f))),
          Decoding(narrow)};
}

void ExpectSameKept(Sequence& actual, Sequence& expected) {
  ExpectSameCache(actual, expected);
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head)
      EXPECT_EQ(Read(actual, layer, head).kept, Read(expected, layer, head).kept);
}

class DecodeEvictions : public testing::TestWithParam<size_t> {
 protected:
  const Policy policy_ = Policies()[GetParam()];
};
INSTANTIATE_TEST_SUITE_P(Methods, DecodeEvictions, testing::Range<size_t>(0, 7));

TEST_P(DecodeEvictions, KeepToTheBudgetAndItsBytes) {
  RowsOnlyKernel kernel;
  for (const int prompt : {40, 400}) {
    ToyModel model(3);
    model.UsePromptKernel(&kernel);
    const auto manager = NewManager();
    const auto sequence = NewSequence(manager, policy_);
    model.Prompt(*sequence, prompt);
    EXPECT_LE(BytesInUse(*manager), EstimateBytes(kShape, policy_, prompt, 0, 0).resident_bytes);
    if (policy_.eviction.heads == HeadBudgets::kUniform)
      EXPECT_EQ(BytesInUse(*manager), EstimateBytes(kShape, policy_, prompt, 0, 0).resident_bytes);
    for (int step = 0; step < 500; ++step) {
      model.Step(*sequence, 1);
      ASSERT_LE(BytesInUse(*manager), EstimateBytes(kShape, policy_, prompt, step + 1, 0).resident_bytes)
          << prompt << " and " << step;
      // A tile has just joined: no other is there yet that has not been made room for.
      if (sequence->dense_rows() != policy_.recent_window || sequence->sealed_tokens() == 0) continue;
      const int64_t target =
          LeavingToKeep(policy_, kShape.layers, 0, sequence->length(), sequence->sealed_tokens());
      const int64_t sinks = (policy_.eviction.sink_tokens + 63) / 64 * 64;
      for (int layer = 0; layer < kShape.layers; ++layer) {
        int64_t tiles = 0;
        for (int head = 0; head < kShape.kv_heads; ++head) tiles += sequence->slabs(layer).Tiles(head);
        EXPECT_LE(tiles * kTileTokens, kShape.kv_heads * std::max(target + 32, sinks + 64))
            << "length " << sequence->length();
      }
    }
    EXPECT_LT(AllKept(*sequence), 4 * (prompt + 500));
  }
}

TEST_P(DecodeEvictions, AttentionReadsTheRowsThatAreLeft) {
  for (const int64_t window : {0, 70, 250}) {
    ToyModel model(4, 0, window);
    if (window == 70) model.UseSoftcapAndSinks(1.5f, {4.0f, -3.0f, 7.0f, 6.0f});
    const auto sequence = NewSequence(NewManager(), policy_);
    model.Prompt(*sequence, 300);
    for (int i = 0; i < 8; ++i) {
      model.Decode(*sequence, 37);
      ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    }
    if (window != 70) ExpectPromptMatchesRows(model, *sequence, 130, 50, {0, 65, 129});
    model.Decode(*sequence, 150);
    ExpectDecodeMatchesRows(model, *sequence, 2e-2);
  }
}

TEST_P(DecodeEvictions, BytesOfCheckpointsAreReported) {
  RowsOnlyKernel kernel;
  ToyModel model(4);
  model.UsePromptKernel(&kernel);
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, policy_);
  model.Prompt(*sequence, 400);
  kvp_sequence_info info;
  for (int step = 0; step < 8; ++step) {
    model.Decode(*sequence, 50);
    if (step % 2 == 0) ASSERT_TRUE(sequence->Checkpoint().ok());
    ASSERT_TRUE(sequence->GetInfo(&info).ok());
    EXPECT_EQ(info.sealed_bytes + info.tail_bytes, BytesInUse(*manager)) << step;
  }
}

TEST_P(DecodeEvictions, CheckpointsForksAndRollbacksAreExact) {
  const ToyModel model(5);
  const ToyModel other(99);
  SerialTaskRunner tasks;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, policy_);
  model.Prompt(*expected, 290);
  model.Decode(*expected, 220);
  // Where a tile can be packed first, one layer has evicted and the other has not; then after the tail was
  // full.
  for (const int before : {31, 70}) {
    SCOPED_TRACE(before);
    const auto sequence = NewSequence(manager, policy_);
    model.Prompt(*sequence, 290);
    model.Decode(*sequence, before);
    ASSERT_TRUE(sequence->Checkpoint().ok());
    std::shared_ptr<Sequence> fork;
    ASSERT_TRUE(sequence->Fork(&fork).ok());
    for (const int away : {1, 150}) {
      other.Decode(*sequence, away);
      ASSERT_TRUE(sequence->Rewind(290 + before).ok());
      ExpectSameKept(*sequence, *fork);
    }
    for (int i = 0; i < 40; ++i) {
      ASSERT_TRUE(sequence->BeginStep(1).ok());
      other.RunLayers(*sequence, tasks);
      ASSERT_TRUE(sequence->RollbackStep().ok());
      model.Step(*sequence, 1);
    }
    other.Decode(*fork, 150);
    model.Decode(*sequence, 180 - before);
    ExpectSameKept(*sequence, *expected);
    ASSERT_TRUE(sequence->Rewind(290 + before).ok());
    model.Decode(*sequence, 220 - before);
    ExpectSameKept(*sequence, *expected);

    const auto expected_fork = NewSequence(manager, policy_);
    model.Prompt(*expected_fork, 290);
    model.Decode(*expected_fork, before);
    other.Decode(*expected_fork, 150);
    ExpectSameKept(*fork, *expected_fork);
  }
}

TEST_P(DecodeEvictions, EvictOnceThoughStepsAreTakenAgain) {
  const ToyModel model(6);
  const auto sequence = NewSequence(NewManager(), policy_);
  model.Prompt(*sequence, 290);
  while (sequence->dense_rows() != policy_.recent_window) model.Step(*sequence, 1);
  const int64_t start = sequence->length();
  const int64_t kept = AllKept(*sequence);
  for (int turn = 0; turn < 3; ++turn) {
    model.Decode(*sequence, kTileTokens - 1);
    ASSERT_TRUE(sequence->Rewind(start).ok());
  }
  model.Decode(*sequence, kTileTokens);
  EXPECT_EQ(sequence->dense_rows(), policy_.recent_window);
  const auto once = NewSequence(NewManager(), policy_);
  model.Prompt(*once, 290);
  model.Decode(*once, static_cast<int>(sequence->length()) - 290);
  EXPECT_EQ(AllKept(*sequence), AllKept(*once));
  EXPECT_GE(AllKept(*sequence), kept);
  // From nothing everything is as in a new sequence.
  ASSERT_TRUE(sequence->Rewind(0).ok());
  model.Prompt(*sequence, 290);
  model.Decode(*sequence, static_cast<int>(once->length()) - 290);
  ExpectSameKept(*sequence, *once);
}

TEST(DecodeRecency, KeepsSinksAndTheNewest) {
  const ToyModel model(7);
  const Policy policy = Decoding(WithBudget(Evicting(TokenScore::kRecency, 0), 200));
  const auto sequence = NewSequence(NewManager(), policy);
  model.Decode(*sequence, 1000);
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const std::vector<uint8_t> kept = Read(*sequence, layer, head).kept;
      const auto count = std::count(kept.begin(), kept.end(), 1);
      EXPECT_NEAR(static_cast<double>(count), 200, 96);
      for (size_t t = 0; t < kept.size(); ++t)
        EXPECT_EQ(kept[t], t < 4 || t + count >= kept.size() + 4 ? 1 : 0) << t;
    }
}

// Of slabs sealed under another policy, and of formats whose rows share scales, whole tiles go.
TEST(DecodeEviction, DropsTilesWhereRowsCannotMove) {
  const ToyModel model(8);
  Policy shared = ExactPolicy();
  shared.key_storage = shared.value_storage = Storage::kInt4;
  const auto source = NewSequence(NewManager(), shared);
  model.Prompt(*source, 300);
  std::vector<ReadBack> before;
  for (int head = 0; head < kShape.kv_heads; ++head) before.push_back(Read(*source, 0, head));
  const Policy policy = Decoding(WithBudget(Evicting(TokenScore::kAccumulatedAttention, 0), 100));
  ASSERT_TRUE(source->OpenDeferredSegment(200, {&policy, 1}, 0).ok());
  model.Step(*source, 200);
  std::shared_ptr<Sequence> sealed;
  ASSERT_TRUE(source->SealAs(policy, &sealed).ok());
  model.Decode(*sealed, 200);
  for (int head = 0; head < kShape.kv_heads; ++head) {
    const ReadBack after = Read(*sealed, 0, head);
    int64_t tiles = 0;
    for (int64_t tile = 0; tile < 4; ++tile) {
      const uint8_t kept = after.kept[tile * kTileTokens];
      tiles += kept;
      for (int64_t row = tile * kTileTokens; row < (tile + 1) * kTileTokens; ++row) {
        ASSERT_EQ(after.kept[row], kept) << row;
        for (int64_t i = row * kShape.head_size; kept != 0 && i < (row + 1) * kShape.head_size; ++i) {
          ASSERT_EQ(after.keys[i], before[head].keys[i]);
          ASSERT_EQ(after.values[i], before[head].values[i]);
        }
      }
    }
    EXPECT_EQ(after.kept[0], 1) << "it holds the sinks";
    EXPECT_LT(tiles, 3);
  }
  ExpectDecodeMatchesRows(model, *sealed, 2e-2);
}

class JoinedSlabs : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Policies, JoinedSlabs, testing::Bool(),
                         [](const auto& info) { return info.param ? "Mixed" : "Exact"; });

TEST_P(JoinedSlabs, HoldTheSameRows) {
  RowsOnlyKernel kernel;
  ToyModel model(9, 0, 700);
  model.UsePromptKernel(&kernel);
  const Policy policy = GetParam() ? MixedPolicy() : ExactPolicy();
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, policy);
  model.Prompt(*sequence, 100);
  const int64_t tile = TileSlab::Bytes(GeneratedTileFormat(policy, 0, kShape.head_size), kShape.kv_heads, 1);
  model.Decode(*sequence, 15 * kTileTokens);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(sequence->Fork(&fork).ok());
  const size_t before = sequence->slabs(0).size();
  EXPECT_EQ(before, 16u);
  kvp_sequence_info info;
  for (int step = 0; step < 200; step += 20) {
    model.Decode(*sequence, 19);
    ExpectDecodeMatchesRows(model, *sequence, GetParam() ? 2e-2 : 1e-5);
    ASSERT_TRUE(sequence->GetInfo(&info).ok());
    EXPECT_LE(info.sealed_bytes, 2 * 19 * tile);
  }
  EXPECT_LT(sequence->slabs(0).size(), 5u);
  // Rows as packed, in the fork's slabs, are those in the joined ones.
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const ReadBack alone = Read(*fork, layer, head);
      const ReadBack joined = Read(*sequence, layer, head);
      const int64_t floats = fork->sealed_tokens() * kShape.head_size;
      EXPECT_TRUE(std::equal(alone.keys.begin(), alone.keys.begin() + floats, joined.keys.begin()));
      EXPECT_TRUE(std::equal(alone.values.begin(), alone.values.begin() + floats, joined.values.begin()));
    }
  // What the fork shares is untouched, and joined when it gets there.
  EXPECT_EQ(fork->slabs(0).size(), before);
  model.Decode(*fork, 200);
  ExpectSameCache(*fork, *sequence);
  EXPECT_LE(BytesInUse(*manager),
            2 * EstimateBytes(kShape, policy, 100, 15 * kTileTokens + 200, 0).resident_bytes);
  // Rewinding to before they were joined.
  ASSERT_TRUE(sequence->Rewind(100).ok());
  EXPECT_EQ(sequence->slabs(0).size(), 1u);
  ExpectDecodeMatchesRows(model, *sequence, GetParam() ? 2e-2 : 1e-5);
}

}  // namespace
}  // namespace kvprune::test
