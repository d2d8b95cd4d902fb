#include "cache/error_budget.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cache/estimate.h"
#include "cache/head_error.h"
#include "cache/model_fixture.h"
#include "pruning/error_ladders.h"
#include "pruning/head_case.h"

namespace kvprune::test {
namespace {

Policy Budget(float error, Storage storage = Storage::kInt8) {
  Policy policy{storage, storage, 0, 0, 0, 32, 32};
  policy.key_score = KeyScore::kQueryRms;
  policy.output_error = error;
  return policy;
}

kvp_head_info Head(Sequence& sequence, int layer, int head) {
  kvp_head_info info;
  EXPECT_TRUE(sequence.GetHead(layer, head, &info).ok());
  return info;
}

// All rows of a head: those that its last segment began with, then the model's.
ReadBack ExactRows(const ToyModel& model, const ReadBack& before, int64_t length, int layer, int head) {
  ReadBack rows = before;
  for (auto t = static_cast<int64_t>(before.kept.size()); t < length; ++t) {
    const auto key = model.Key(layer, t, head);
    const auto value = model.Value(layer, t, head);
    rows.keys.insert(rows.keys.end(), key.begin(), key.end());
    rows.values.insert(rows.values.end(), value.begin(), value.end());
    rows.kept.push_back(1);
  }
  return rows;
}

std::vector<double> Output(const ToyModel& model, ReadBack rows, int layer, int64_t position,
                           int query_head) {
  rows.kept.resize(static_cast<size_t>(position) + 1);
  const ReadBack seen = SeenRows(rows, position + 1 - model.Seen(position + 1));
  return ToyModel::Attend(model.Query(layer, position, query_head), seen.keys.data(), seen.values.data(),
                          static_cast<int64_t>(seen.kept.size()), model.softcap(), model.Sink(query_head));
}

// The error of a head's attention outputs in double precision over the tiles that the sequence holds.
double MeasuredError(const ToyModel& model, Sequence& sequence, const ReadBack& before, int layer, int head) {
  const int64_t length = sequence.length();
  const auto start = static_cast<int64_t>(before.kept.size());
  const ReadBack exact = ExactRows(model, before, length, layer, head);
  ReadBack stored = Read(sequence, layer, head);
  const int64_t sealed = sequence.sealed_tokens() * kShape.head_size;
  std::copy(exact.keys.begin() + sealed, exact.keys.end(), stored.keys.begin() + sealed);
  std::copy(exact.values.begin() + sealed, exact.values.end(), stored.values.begin() + sealed);
  double difference = 0;
  double norm = 0;
  for (int64_t position = std::max(start, length - 32); position < length; ++position)
    for (int g = 0; g < kShape.group(); ++g) {
      const int query_head = head * kShape.group() + g;
      const auto o = Output(model, exact, layer, position, query_head);
      const auto p = Output(model, stored, layer, position, query_head);
      for (int j = 0; j < kShape.head_size; ++j) {
        difference += std::pow(p[j] - o[j], 2);
        norm += o[j] * o[j];
      }
    }
  return std::sqrt(difference / norm);
}

void ExpectWithinBudget(const ToyModel& model, Sequence& sequence, const std::vector<ReadBack>& before,
                        float budget) {
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const kvp_head_info info = Head(sequence, layer, head);
      const ReadBack& rows = before[layer * kShape.kv_heads + head];
      const double error = MeasuredError(model, sequence, rows, layer, head);
      EXPECT_NEAR(info.output_error, error, 2e-3 * error + 1e-6) << "layer " << layer << " head " << head;
      EXPECT_LE(info.output_error, budget);
    }
}

std::vector<ReadBack> ReadAll(Sequence& sequence) {
  std::vector<ReadBack> rows;
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) rows.push_back(Read(sequence, layer, head));
  return rows;
}

TEST(ErrorBudgetTest, ReachedErrorIsWithinTheBudget) {
  for (const Storage storage :
       {Storage::kFloat32, Storage::kBFloat16, Storage::kInt8, Storage::kFloat16, Storage::kInt4})
    for (const float budget : {0.02f, 0.1f, 0.3f}) {
      SCOPED_TRACE(testing::Message() << "storage " << static_cast<int>(storage) << " budget " << budget);
      const ToyModel model(7, 10000.0f);
      const auto sequence = NewSequence(NewManager(), Budget(budget, storage));
      const auto before = ReadAll(*sequence);
      model.Prompt(*sequence, 200, 120);
      ExpectWithinBudget(model, *sequence, before, budget);
    }
}

TEST(ErrorBudgetTest, WindowsSoftcapsSinksAndWhatWasSealedBeforeCount) {
  for (const int64_t window : {0, 100, 150})
    for (const int recent : {0, 32}) {
      SCOPED_TRACE(testing::Message() << "window " << window << " recent " << recent);
      ToyModel model(8, 10000.0f, window);
      if (window != 100) model.UseSoftcapAndSinks(3, {0.5f, -1, 2, 0});
      Policy policy = Budget(0.1f);
      policy.recent_window = recent;
      const auto sequence = NewSequence(NewManager(), policy);
      model.Prompt(*sequence, 200);
      model.Decode(*sequence, 20);
      // Rows of the tail are what the segment begins with.
      const auto before = ReadAll(*sequence);
      model.Prompt(*sequence, 180, 50);
      ExpectWithinBudget(model, *sequence, before, 0.1f);
      ExpectDecodeMatchesRows(model, *sequence, 2e-2);
    }
}

TEST(ErrorBudgetTest, EvictedTokensCount) {
  const ToyModel model(9, 10000.0f);
  Policy policy = Budget(0.9f);
  policy.eviction = {
      .score = TokenScore::kWindowAttention, .sparsity = 0.4f, .sink_tokens = 4, .pool_kernel = 1};
  const auto sequence = NewSequence(NewManager(), policy);
  const auto before = ReadAll(*sequence);
  model.Prompt(*sequence, 400);
  ExpectWithinBudget(model, *sequence, before, 0.9f);
  EXPECT_LT(Head(*sequence, 0, 0).kept_tokens, Head(*sequence, 0, 0).tokens);
}

TEST(ErrorBudgetTest, ALooserBudgetTakesNoMoreBytes) {
  for (const Storage storage : {Storage::kBFloat16, Storage::kInt8, Storage::kInt4}) {
    std::vector<int64_t> last(kShape.layers * kShape.kv_heads, INT64_MAX);
    int64_t different = 0;
    for (const float budget : {0.0001f, 0.01f, 0.03f, 0.1f, 0.2f, 0.6f}) {
      const ToyModel model(10, 10000.0f);
      const auto manager = NewManager();
      const auto sequence = NewSequence(manager, Budget(budget, storage));
      model.Prompt(*sequence, 170);
      for (int layer = 0; layer < kShape.layers; ++layer)
        for (int head = 0; head < kShape.kv_heads; ++head) {
          const int64_t bytes = Head(*sequence, layer, head).bytes;
          EXPECT_LE(bytes, last[layer * kShape.kv_heads + head]) << "budget " << budget;
          different += bytes != last[layer * kShape.kv_heads + head] ? 1 : 0;
          last[layer * kShape.kv_heads + head] = bytes;
        }
      model.Decode(*sequence, 100);
      EXPECT_LE(BytesInUse(*manager), EstimateBytes(kShape, sequence->policy(), 170, 100, 0).resident_bytes);
    }
    EXPECT_GE(different, 3 * static_cast<int64_t>(last.size())) << "budgets hardly differ";
  }
}

TEST(ErrorBudgetTest, AnImpossibleBudgetKeepsMostAndSaysWhatItReached) {
  for (const Storage storage : {Storage::kInt8, Storage::kInt4, Storage::kBFloat16, Storage::kFloat16}) {
    const ToyModel model(11, 10000.0f);
    const auto sequence = NewSequence(NewManager(), Budget(1e-7f, storage));
    const auto before = ReadAll(*sequence);
    model.Prompt(*sequence, 200);
    const Storage finest = storage == Storage::kFloat16 ? storage : Storage::kBFloat16;
    for (int layer = 0; layer < kShape.layers; ++layer)
      for (int head = 0; head < kShape.kv_heads; ++head) {
        const kvp_head_info info = Head(*sequence, layer, head);
        EXPECT_EQ(info.key_storage, static_cast<int32_t>(finest));
        EXPECT_EQ(info.value_storage, static_cast<int32_t>(finest));
        EXPECT_EQ(info.key_elements, 64 * kShape.head_size);
        EXPECT_EQ(info.value_elements, 64 * kShape.head_size);
        EXPECT_GT(info.output_error, 1e-7f);
        EXPECT_NEAR(info.output_error,
                    MeasuredError(model, *sequence, before[layer * kShape.kv_heads + head], layer, head),
                    1e-5);
      }
  }
}

TEST(ErrorBudgetTest, GeneratedRowsAreRoundedOnly) {
  const ToyModel model(12, 10000.0f);
  const auto sequence = NewSequence(NewManager(), Budget(0.5f));
  model.Decode(*sequence, 100);
  EXPECT_EQ(Head(*sequence, 0, 0).tokens, 0) << "no prompt was sealed";
  EXPECT_TRUE(std::isnan(Head(*sequence, 0, 0).output_error));
  const ReadBack rows = Read(*sequence, 0, 0);
  for (int64_t i = 0; i < 64 * kShape.head_size; ++i) {
    EXPECT_NEAR(rows.keys[i], model.Key(0, i / kShape.head_size, 0)[i % kShape.head_size], 0.03);
    EXPECT_NEAR(rows.values[i], model.Value(0, i / kShape.head_size, 0)[i % kShape.head_size], 0.02);
  }
}

TEST(ErrorBudgetTest, NoSettingTakesMoreThanTheEstimateCounts) {
  for (int storage = 0; storage <= static_cast<int>(Storage::kInt4); ++storage) {
    const Policy policy = Budget(0.1f, static_cast<Storage>(storage));
    for (const int head_size : {32, 64, 80, 128, 256})
      for (const auto& keys : KeyLadders(policy))
        for (const auto& values : ValueLadders(policy))
          for (const EntrySetting& key : keys)
            for (const EntrySetting& value : values)
              EXPECT_LE(MakeFormat(policy, key, value, head_size).stride,
                        PromptTileFormat(policy, 0, head_size).stride);
  }
}

// Measuring K's and V's settings on their own loses next to nothing against measuring every pair.
TEST(ErrorBudgetTest, TakesHardlyMoreBytesThanTheBestOfAllPairs) {
  std::mt19937 random(13);
  const auto account = std::make_shared<MemoryAccount>(0);
  const SlabList past(1);
  size_t all_chosen = 0;
  size_t all_best = 0;
  for (int turn = 0; turn < 6; ++turn) {
    const HeadCase head(192 + 40, 32, 2, 64, &random);
    const HeadSource source{
        {head.keys.data(), head.values.data(), head.tokens, 192, head.keys.data(), head.values.data(), 192},
        head.Queries(),
        {64, head.scale},
        &past,
        0,
        nullptr};
    const Policy policy = Budget(0.05f + 0.05f * static_cast<float>(turn));
    HeadSealing sealing;
    ASSERT_TRUE(sealing.Choose(account, policy, 0, 0, source).ok());
    const size_t chosen = sealing.rules().format.stride;
    HeadError error;
    ASSERT_TRUE(error.Prepare(account, 0, source, 64 * 1024).ok());
    size_t best = PromptTileFormat(policy, 0, 64).stride;
    for (const auto& keys : KeyLadders(policy))
      for (const auto& values : ValueLadders(policy))
        for (const EntrySetting& key : keys)
          for (const EntrySetting& value : values) {
            if (MakeFormat(policy, key, value, 64).stride >= best) continue;
            sealing.Use(key, value);
            double reached = 0;
            ASSERT_TRUE(error.Measure(sealing, &reached).ok());
            if (reached <= static_cast<double>(policy.output_error)) best = sealing.rules().format.stride;
          }
    all_chosen += chosen;
    all_best += best;
  }
  EXPECT_LE(static_cast<double>(all_chosen), 1.02 * static_cast<double>(all_best));
}

}  // namespace
}  // namespace kvprune::test
