#include <cmath>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

using AttentionStateTest = KernelTest;
KVPRUNE_ALL_KERNELS(AttentionStateTest);

double Distance(const AttentionState& a, const AttentionState& b, int row, int head_size) {
  double difference = 0, norm = 0;
  for (int channel = 0; channel < head_size; ++channel) {
    const double x = a.accumulator[row][channel] / a.sum[row], y = b.accumulator[row][channel] / b.sum[row];
    difference += (x - y) * (x - y);
    norm += x * x;
  }
  return std::sqrt(difference / norm);
}

TEST_P(AttentionStateTest, MergedPartsEqualTheWhole) {
  std::mt19937 random(31);
  const TileCase tile_case{64, 64, Storage::kFloat32, 32, Storage::kFloat32, 20};
  const TileData data(tile_case, 5, &random);
  const std::vector<float> queries = Flatten(RandomRows(3, 64, &random));
  AttentionState whole;
  whole.Reset(3, 64);
  Kernels().attend_tiles(data.format, data.tile(0), 5, queries.data(), 3, nullptr, 0, &whole);
  for (int split = 0; split <= 5; ++split) {
    AttentionState parts[2];
    for (auto& part : parts) part.Reset(3, 64);
    Kernels().attend_tiles(data.format, data.tile(0), split, queries.data(), 3, nullptr, 0, &parts[0]);
    Kernels().attend_tiles(data.format, data.tile(split), 5 - split, queries.data(), 3, nullptr, 0,
                           &parts[1]);
    AttentionState forward = parts[1], backward = parts[0];
    MergeAttention(parts[0], 3, 64, &forward);
    MergeAttention(parts[1], 3, 64, &backward);
    for (int row = 0; row < 3; ++row) {
      EXPECT_LE(Distance(whole, forward, row, 64), 1e-5) << split;
      EXPECT_LE(Distance(whole, backward, row, 64), 1e-5) << split;
      EXPECT_FLOAT_EQ(forward.max[row], whole.max[row]);
      EXPECT_NEAR(forward.sum[row], whole.sum[row], whole.sum[row] * 1e-5);
    }
  }
}

// Prompt tiles and the dense tail of one sequence: a state carried from one kernel to the other.
TEST_P(AttentionStateTest, TilesThenDenseRowsEqualOneSoftmax) {
  std::mt19937 random(32);
  const TileCase tile_case{64, 64, Storage::kFloat32, 64, Storage::kFloat32, 64};
  const TileData data(tile_case, 2, &random);
  const Rows tail_keys = RandomRows(33, 64, &random), tail_values = RandomRows(33, 64, &random);
  const Rows queries = RandomRows(2, 64, &random);
  AttentionState state;
  state.Reset(2, 64);
  const std::vector<float> flat_keys = Flatten(tail_keys), flat_values = Flatten(tail_values);
  const RowRange seen[] = {{0, 33}, {0, 32}};
  Kernels().attend_tiles(data.format, data.tile(0), 2, Flatten(queries).data(), 2, nullptr, 0, &state);
  Kernels().attend_dense({flat_keys.data(), flat_values.data(), Storage::kFloat32, Storage::kFloat32, 64},
                         seen, Flatten(queries).data(), 2, 0, &state);
  std::vector<oracle::Output> expected;
  for (int row = 0; row < 2; ++row) {
    auto keys = data.stored_keys;
    auto values = data.stored_values;
    for (int i = 0; i < seen[row].end; ++i) {
      keys.emplace_back(tail_keys[i].begin(), tail_keys[i].end());
      values.emplace_back(tail_values[i].begin(), tail_values[i].end());
    }
    expected.push_back(oracle::Attend({queries[row].begin(), queries[row].end()}, keys, values));
  }
  EXPECT_LE(RelativeError(state, 64, expected), 2e-5);
  EXPECT_LE(LogSumError(state, expected), 2e-5);
}

TEST(MergeAttentionTest, EmptyStatesAreNeutral) {
  AttentionState empty, seen;
  empty.Reset(1, 8);
  seen.Reset(1, 8);
  seen.max[0] = 3;
  seen.sum[0] = 2;
  for (int i = 0; i < 8; ++i) seen.accumulator[0][i] = static_cast<float>(i);
  AttentionState left = empty, right = seen, both = empty;
  MergeAttention(seen, 1, 8, &left);
  MergeAttention(empty, 1, 8, &right);
  MergeAttention(empty, 1, 8, &both);
  for (const AttentionState& merged : {left, right}) {
    EXPECT_EQ(merged.max[0], 3);
    EXPECT_EQ(merged.sum[0], 2);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(merged.accumulator[0][i], i);
  }
  float output[8];
  float* rows[] = {output};
  FinishAttention(both, 1, 8, nullptr, rows);
  for (float value : output) EXPECT_EQ(value, 0);
}

// A sink is one more logit, whose value is zeros: alone it leaves zeros, far below the others it changes
// nothing, and neither end overflows.
TEST(FinishAttentionTest, SinksJoinTheDenominator) {
  AttentionState state;
  state.Reset(5, 8);
  const float maxima[] = {0, 2, -80, 80, 1};
  const float sinks[] = {0, -1, 80, -80, 3};
  for (int row = 0; row < 4; ++row) {
    state.max[row] = maxima[row];
    state.sum[row] = 1.5f;
    for (int i = 0; i < 8; ++i) state.accumulator[row][i] = static_cast<float>(i + row);
  }
  float output[5][8];
  float* rows[] = {output[0], output[1], output[2], output[3], output[4]};
  FinishAttention(state, 5, 8, sinks, rows);
  for (int row = 0; row < 4; ++row) {
    const double sink = std::exp(static_cast<double>(sinks[row]) - maxima[row]);
    for (int i = 0; i < 8; ++i) EXPECT_NEAR(output[row][i], (i + row) / (1.5 + sink), 1e-6);
  }
  for (float value : output[4]) EXPECT_EQ(value, 0);
}

TEST(MergeAttentionTest, NotANumberIsNotTakenForEmpty) {
  AttentionState bad, good;
  for (AttentionState* state : {&bad, &good}) {
    state->Reset(1, 8);
    state->max[0] = 0;
    state->sum[0] = 1;
  }
  bad.sum[0] = NAN;
  MergeAttention(bad, 1, 8, &good);
  EXPECT_TRUE(std::isnan(good.sum[0]));
}

}  // namespace
}  // namespace kvprune
