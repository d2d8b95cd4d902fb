#include "cache/seal_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/fixture.h"
#include "pruning/head_case.h"

namespace kvprune::test {
namespace {

using Doubles = std::vector<double>;

// The `kept` largest of `scores`, the lower index of equals first, ascending.
std::vector<int> Best(const Doubles& scores, int kept) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(kept));
  std::sort(order.begin(), order.end());
  return order;
}

// One head's rows, of which the first ones leave and some of these stay.
struct Leaving {
  Leaving(int64_t leaving_rows, bool evicts, const HeadCase& source) : head(source), leaving(leaving_rows) {
    kept.resize(static_cast<size_t>(leaving));
    std::iota(kept.begin(), kept.end(), 0);
    if (evicts) {
      std::mt19937 random(3);
      std::shuffle(kept.begin(), kept.end(), random);
      kept.resize(static_cast<size_t>(leaving / kTileTokens / 2 * kTileTokens));
      std::sort(kept.begin(), kept.end());
    }
    for (const int32_t row : kept) {
      const auto from = row * head.head_size;
      keys.insert(keys.end(), head.keys.begin() + from, head.keys.begin() + from + head.head_size);
      values.insert(values.end(), head.values.begin() + from, head.values.begin() + from + head.head_size);
    }
  }

  HeadSource Source(const AttentionRule& rule, const SlabList& past, const float* gram) const {
    const bool all = static_cast<int64_t>(kept.size()) == leaving;
    return {{head.keys.data(), head.values.data(), head.tokens, leaving, keys.data(), values.data(),
             static_cast<int64_t>(kept.size()), all ? nullptr : kept.data()},
            head.Queries(),
            rule,
            &past,
            0,
            gram};
  }

  const HeadCase& head;
  int64_t leaving;
  std::vector<int32_t> kept;
  std::vector<float> keys, values;
};

// What a policy leaves of a head's rows, from the papers' formulas.
class Reference {
 public:
  Reference(const Policy& policy, const Leaving& rows, const Matrix& attention, const Doubles& output_weights)
      : policy_(policy),
        rows_(rows),
        head_(rows.head),
        attention_(attention),
        output_weights_(output_weights) {}

  std::vector<int> KeyChannels() const {
    Doubles scores = QuerySums([](double q) { return q * q; });
    for (int j = 0; j < head_.head_size; ++j) {
      double sum = 0;
      for (const int32_t t : rows_.kept) sum += std::pow(head_.keys[t * head_.head_size + j], 2);
      scores[j] *= sum;
    }
    return Best(scores, KeptChannels(policy_.key_channel_sparsity, head_.head_size));
  }

  std::vector<int> ValueChannels() const {
    Doubles scores(static_cast<size_t>(head_.head_size));
    for (int g = 0; g < head_.group; ++g)
      for (int j = 0; j < head_.head_size; ++j) {
        double squares = 0;
        for (int64_t i = 0; i < head_.observed; ++i) {
          double output = 0;
          for (const int32_t t : rows_.kept)
            output += attention_[i * head_.group + g][t] * head_.values[t * head_.head_size + j];
          squares += output * output;
        }
        scores[j] += std::sqrt(squares);
      }
    return Best(scores, KeptChannels(policy_.value_channel_sparsity, head_.head_size));
  }

  // [kept rows][head_size]
  std::vector<Doubles> Keys() const {
    Doubles weights(static_cast<size_t>(head_.head_size), 1);
    if (policy_.key_score == KeyScore::kQueryMagnitude)
      weights = QuerySums([](double q) { return std::fabs(q); });
    if (policy_.key_score == KeyScore::kQueryRms) {
      weights = QuerySums([](double q) { return q * q; });
      for (double& weight : weights) weight = std::sqrt(weight);
    }
    return Stored(rows_.keys, KeyChannels(), policy_.key_pattern, policy_.key_sparsity,
                  policy_.key_score == KeyScore::kMagnitude, weights, {}, policy_.key_storage, true);
  }

  std::vector<Doubles> Values() const {
    Doubles weights(static_cast<size_t>(head_.head_size), 1);
    if (policy_.value_score == ValueScore::kOutputWeight) weights = output_weights_;
    Doubles tokens;
    if (policy_.value_score == ValueScore::kAttention)
      for (const int32_t t : rows_.kept) {
        tokens.push_back(0);
        for (const Doubles& row : attention_) tokens.back() += row[static_cast<size_t>(t)];
      }
    return Stored(rows_.values, ValueChannels(), policy_.value_pattern, policy_.value_sparsity,
                  policy_.value_score != ValueScore::kOutputWeight, weights, tokens, policy_.value_storage,
                  false);
  }

 private:
  template <class Term>
  Doubles QuerySums(const Term& term) const {
    Doubles sums(static_cast<size_t>(head_.head_size));
    for (int64_t i = 0; i < head_.observed; ++i)
      for (int g = 0; g < head_.group; ++g)
        for (int j = 0; j < head_.head_size; ++j) sums[j] += term(head_.Query(i, g)[j]);
    return sums;
  }

  std::vector<Doubles> Stored(const std::vector<float>& rows, const std::vector<int>& channels,
                              SparsityPattern pattern, float sparsity, bool plain, const Doubles& weights,
                              const Doubles& tokens, Storage storage, bool keys) const {
    const int width = static_cast<int>(channels.size());
    std::vector<Doubles> stored;
    for (size_t first = 0; first < rows_.kept.size(); first += kTileTokens) {
      Rows tile;
      oracle::Mask mask(kTileTokens, std::vector<uint8_t>(static_cast<size_t>(width)));
      for (size_t t = first; t < first + kTileTokens; ++t) {
        tile.emplace_back();
        for (const int j : channels) tile.back().push_back(rows[t * head_.head_size + j]);
      }
      if (pattern == SparsityPattern::kPerToken) {
        for (int t = 0; t < kTileTokens; ++t) {
          Doubles scores;
          for (int i = 0; i < width; ++i) scores.push_back(std::fabs(tile[t][i]) * weights[channels[i]]);
          for (const int i : Best(scores, KeptElements(sparsity, width))) mask[t][i] = 1;
        }
      } else {
        for (int group = 0; group < kTileTokens; group += 32)
          for (int i = 0; i < width; ++i) {
            Doubles scores;
            for (int t = group; t < group + 32; ++t)
              scores.push_back(std::fabs(tile[t][i]) * (tokens.empty() ? 1 : tokens[first + t]));
            for (const int t : Best(scores, KeptElements(sparsity, 32))) mask[group + t][i] = 1;
          }
      }
      const bool per_token = pattern == SparsityPattern::kPerToken;
      const int kept = KeptElements(sparsity, per_token ? width : 32);
      const bool dense = kept == (per_token ? width : 32);
      // Plain magnitudes are ranked as the storage rounds them.
      const auto of_tile = oracle::StoredTile(tile, {storage, dense ? width : kept, keys},
                                              dense || (plain && per_token) ? nullptr : &mask);
      for (const Doubles& row : of_tile) {
        stored.emplace_back(static_cast<size_t>(head_.head_size));
        for (int i = 0; i < width; ++i) stored.back()[channels[i]] = row[i];
      }
    }
    return stored;
  }

  const Policy& policy_;
  const Leaving& rows_;
  const HeadCase& head_;
  const Matrix& attention_;
  const Doubles& output_weights_;
};

int CountDifferences(const float* actual, const Doubles& expected) {
  int differences = 0;
  for (size_t j = 0; j < expected.size(); ++j)
    differences += std::fabs(actual[j] - expected[j]) > 1e-6 * std::fabs(expected[j]) ? 1 : 0;
  return differences;
}

class SealHeadTest : public KernelTest {
 protected:
  // Packs what Choose decided and compares it with the reference. Single-precision weights may swap elements
  // at a threshold, which must stay rare.
  void Compare(const Policy& policy, const Leaving& rows, const AttentionRule& rule, const Matrix& attention,
               const std::vector<float>& gram) {
    const HeadCase& head = rows.head;
    Doubles output_weights;
    for (int j = 0; j < head.head_size; ++j)
      output_weights.push_back(std::sqrt(static_cast<double>(gram[j * (head.head_size + 1)])));
    const SlabList past(1);
    HeadSealing sealing;
    const Status status = sealing.Choose(account_, policy, 0, 0, rows.Source(rule, past, gram.data()));
    ASSERT_TRUE(status.ok()) << status.message();
    const HeadRun run = sealing.Run();
    ASSERT_EQ(run.tiles * kTileTokens, static_cast<int64_t>(rows.kept.size()));
    ASSERT_EQ(run.evicted, static_cast<int64_t>(rows.kept.size()) < rows.leaving);
    ASSERT_TRUE(std::isnan(run.output_error));
    std::shared_ptr<TileSlab> slab;
    ASSERT_TRUE(TileSlab::Create(account_, rows.leaving, {&run, 1}, &slab).ok());
    sealing.WriteChannels(*slab, 0);
    const Reference reference(policy, rows, attention, output_weights);
    const auto key_channels = reference.KeyChannels();
    ASSERT_TRUE(std::equal(key_channels.begin(), key_channels.end(), slab->key_channels(0)));
    const auto value_channels = reference.ValueChannels();
    if (slab->value_channels(0) != nullptr)
      ASSERT_TRUE(std::equal(value_channels.begin(), value_channels.end(), slab->value_channels(0)));

    const auto keys = reference.Keys();
    const auto values = reference.Values();
    const int size = head.head_size;
    std::vector<float> tile_keys(static_cast<size_t>(kTileTokens) * size);
    std::vector<float> tile_values(tile_keys.size());
    int differences = 0;
    for (int64_t index = 0; index < run.tiles; ++index) {
      ASSERT_TRUE(sealing.Pack(index, slab->tile(0, index)).ok());
      UnpackTile(run.format, slab->tile(0, index), slab->key_channels(0), slab->value_channels(0),
                 tile_keys.data(), tile_values.data());
      for (int64_t t = 0; t < kTileTokens; ++t) {
        const auto row = static_cast<size_t>(index * kTileTokens + t);
        differences += CountDifferences(&tile_keys[t * size], keys[row]);
        differences += CountDifferences(&tile_values[t * size], values[row]);
      }
    }
    EXPECT_LE(differences, static_cast<int64_t>(rows.kept.size()) * size / 1000);
  }

  std::shared_ptr<MemoryAccount> account_ = std::make_shared<MemoryAccount>(0);
};
KVPRUNE_ALL_KERNELS(SealHeadTest);

std::vector<float> Gram(int size, std::mt19937* random) {
  auto gram = RandomFloats(static_cast<size_t>(size) * size, random);
  for (int j = 0; j < size; ++j) gram[j * (size + 1)] = std::fabs(gram[j * (size + 1)]) + 0.1f;
  return gram;
}

TEST_P(SealHeadTest, KeepsWhatTheFormulasSay) {
  std::mt19937 random(1);
  int turn = 0;
  for (const auto key_score : {KeyScore::kMagnitude, KeyScore::kQueryMagnitude, KeyScore::kQueryRms})
    for (const auto value_score : {ValueScore::kMagnitude, ValueScore::kAttention, ValueScore::kOutputWeight})
      for (const float channels : {0.0f, 0.4f})
        for (const bool evicts : {false, true}) {
          ++turn;
          Policy policy{kStorages[turn % 5], kStorages[turn / 2 % 5], channels, 0.5f, 0.7f, 32, 32};
          policy.value_channel_sparsity = turn % 3 == 0 ? 0.3f : 0;
          policy.key_score = key_score;
          policy.value_score = value_score;
          const bool per_channel = value_score == ValueScore::kAttention || turn % 2 == 0;
          if (value_score != ValueScore::kOutputWeight && per_channel)
            policy.value_pattern = SparsityPattern::kPerChannel;
          if (key_score == KeyScore::kMagnitude && turn % 4 < 2)
            policy.key_pattern = SparsityPattern::kPerChannel;
          const int size = std::vector<int>{64, 40, 128, 32}[turn % 4];
          const int group = 1 + turn % 4;
          const HeadCase head(64 * 2 + 45, 32, group, size, &random);
          const auto sinks = RandomFloats(static_cast<size_t>(group), &random);
          const bool capped = turn % 5 == 0;
          const AttentionRule rule{size, head.scale, capped ? 5.0f : 0.0f, capped ? 120 : 0,
                                   capped ? sinks.data() : nullptr};
          SCOPED_TRACE(testing::Message() << "turn " << turn);
          Compare(policy, Leaving(128, evicts, head), rule,
                  head.Attention(rule.softcap, rule.window, capped ? sinks : std::vector<float>()),
                  Gram(size, &random));
        }
}

TEST_P(SealHeadTest, PromptsShorterThanTheWindowAreScoredByTheQueriesThereAre) {
  std::mt19937 random(2);
  for (const int observed : {1, 3, 64}) {
    const HeadCase head(64, observed, 2, 64, &random);
    Policy policy{Storage::kFloat32, Storage::kFloat32, 0.5f, 0.5f, 0.5f, 0, 200};
    policy.value_channel_sparsity = 0.25f;
    policy.key_score = KeyScore::kQueryRms;
    policy.value_score = ValueScore::kAttention;
    policy.value_pattern = SparsityPattern::kPerChannel;
    Compare(policy, Leaving(64, false, head), {64, head.scale}, head.Attention(), Gram(64, &random));
  }
}

// Equal magnitudes, some of them 0: the lower channel or the earlier token stays, whatever the kernels.
TEST_P(SealHeadTest, TiesKeepTheFirst) {
  std::mt19937 random(3);
  HeadCase head(128, 32, 2, 64, &random);
  for (const float magnitude : {0.5f, 0.0f}) {
    for (size_t i = 0; i < head.keys.size(); ++i) {
      head.keys[i] = i % 3 == 0 ? -magnitude : magnitude;
      head.values[i] = i / 64 % 5 == 0 ? -magnitude : magnitude;  // all channels score alike
    }
    std::fill(head.queries.begin(), head.queries.end(), 1.0f);
    for (const auto pattern : {SparsityPattern::kPerToken, SparsityPattern::kPerChannel})
      for (const Storage storage : kStorages) {
        Policy policy{storage, storage, 0.25f, 0.5f, 0.7f, 0, 32};
        policy.value_channel_sparsity = 0.25f;
        policy.key_pattern = policy.value_pattern = pattern;
        if (pattern == SparsityPattern::kPerToken) {
          policy.key_score = KeyScore::kQueryMagnitude;
          policy.value_score = ValueScore::kOutputWeight;
        }
        Compare(policy, Leaving(64, false, head), {64, head.scale}, head.Attention(),
                std::vector<float>(64 * 64, 1.0f));
      }
  }
}

TEST_P(SealHeadTest, HeadsThatKeepNothingHaveNoTiles) {
  std::mt19937 random(4);
  const HeadCase head(128, 32, 2, 64, &random);
  for (const float budget : {0.0f, 0.01f}) {
    Policy policy{Storage::kInt8, Storage::kInt8, budget > 0 ? 0 : 0.5f, 0, 0, 0, 32};
    policy.output_error = budget;
    Leaving rows(64, true, head);
    ASSERT_TRUE(rows.kept.empty());
    const SlabList past(1);
    HeadSealing sealing;
    ASSERT_TRUE(sealing.Choose(account_, policy, 0, 0, rows.Source({64, head.scale}, past, nullptr)).ok());
    const HeadRun run = sealing.Run();
    EXPECT_EQ(run.tiles, 0);
    EXPECT_TRUE(run.evicted);
  }
}

TEST_P(SealHeadTest, RowsThatAreNotFiniteAreNamed) {
  std::mt19937 random(5);
  HeadCase head(128, 32, 2, 64, &random);
  head.values[37 * 64 + 5] = INFINITY;
  Policy policy{Storage::kFloat32, Storage::kFloat32, 0, 0, 0.5f, 0, 32};
  policy.value_pattern = SparsityPattern::kPerChannel;
  const Leaving rows(64, false, head);
  const SlabList past(1);
  HeadSource source = rows.Source({64, head.scale}, past, nullptr);
  source.sealed_tokens = 1000;
  HeadSealing sealing;
  ASSERT_TRUE(sealing.Choose(account_, policy, 0, 0, source).ok());
  std::vector<uint8_t> tile(sealing.Run().format.stride + kOverreadBytes);
  const Status status = sealing.Pack(0, tile.data());
  EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT);
  EXPECT_NE(status.message().find("token 1037"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace kvprune::test
