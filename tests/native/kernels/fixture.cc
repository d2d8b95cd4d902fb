#include "kernels/fixture.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace kvprune {

Rows RandomRows(int count, int width, std::mt19937* random) {
  std::normal_distribution<float> normal;
  std::vector<float> channel_scale(width);
  for (float& scale : channel_scale) scale = std::exp(0.5f * normal(*random));
  Rows rows(count, std::vector<float>(width));
  for (auto& row : rows) {
    for (int channel = 0; channel < width; ++channel) row[channel] = channel_scale[channel] * normal(*random);
  }
  return rows;
}

std::vector<uint8_t> EvenChannels(int kept, int head_size) {
  std::vector<uint8_t> channels(kept);
  for (int i = 0; i < kept; ++i) channels[i] = static_cast<uint8_t>(i * head_size / kept);
  return channels;
}

std::string TileCase::Name() const {
  static const char* const names[] = {"float32", "bfloat16", "int8", "float16", "int4"};
  std::ostringstream name;
  name << "head size " << head_size << ", K " << names[static_cast<int>(key_storage)] << ' ' << key_nonzeros
       << " of " << key_channels << ", V " << names[static_cast<int>(value_storage)] << ' ' << value_nonzeros
       << " of " << value_channels();
  return name.str();
}

std::vector<TileCase> TileCases(int head_size) {
  std::vector<TileCase> cases;
  const int count = static_cast<int>(std::size(kStorages));
  for (int pair = 0; pair < count * count; ++pair) {
    const Storage key = kStorages[pair / count], value = kStorages[pair % count];
    // The halves of a tile have nothing to do with each other, so most pairs are tried once.
    if (pair % count != pair / count && pair % count != (pair / count + 1) % count) {
      const int channels = head_size - pair % 4;
      cases.push_back({head_size, channels, key, pair % 3 == 0 ? channels : channels / 2, value,
                       pair % 2 == 0 ? head_size : head_size / 3});
      continue;
    }
    {
      for (double sparsity : {0.0, 0.5, 0.7}) {
        for (double channel_sparsity : {0.0, 0.4}) {
          const int channels = head_size - static_cast<int>(channel_sparsity * head_size);
          const auto keep = [&](int width) { return static_cast<int>(std::lround((1 - sparsity) * width)); };
          cases.push_back({head_size, channels, key, keep(channels), value, keep(head_size)});
        }
      }
      // One side dense, the other not.
      cases.push_back({head_size, head_size, key, head_size, value, head_size / 2});
      cases.push_back({head_size, head_size, key, head_size / 2, value, head_size});
      // V without some of its channels.
      const int removed = head_size / 3 + pair % 4;
      cases.push_back({head_size, head_size / 2, key, head_size / 2, value, head_size - removed, removed});
      cases.push_back({head_size, head_size, key, head_size / 2, value, head_size / 4, removed});
    }
  }
  return cases;
}

TileData::TileData(const TileCase& tile_case, int tile_count, std::mt19937* random)
    : tile_case(tile_case),
      format(tile_case.Format()),
      channels(EvenChannels(tile_case.key_channels, tile_case.head_size)),
      value_channels(EvenChannels(tile_case.value_channels(), tile_case.head_size)),
      keys(RandomRows(tile_count * kTileTokens, tile_case.head_size, random)),
      values(RandomRows(tile_count * kTileTokens, tile_case.head_size, random)),
      bytes(static_cast<uint8_t*>(std::aligned_alloc(64, tile_count * format.stride + kOverreadBytes))) {
  const std::vector<float> flat_keys = Flatten(keys), flat_values = Flatten(values);
  for (int index = 0; index < tile_count; ++index) {
    const size_t offset = static_cast<size_t>(index) * kTileTokens * tile_case.head_size;
    Kernels().pack_tile(format, flat_keys.data() + offset, flat_values.data() + offset, tile_case.head_size,
                        channels.data(), value_channels.data(), tile(index));
  }
  Rows gathered(keys.size()), gathered_values(keys.size());
  for (size_t token = 0; token < keys.size(); ++token) {
    for (uint8_t channel : channels) gathered[token].push_back(keys[token][channel]);
    for (uint8_t channel : value_channels) gathered_values[token].push_back(values[token][channel]);
  }
  for (int first = 0; first < tile_count * kTileTokens; first += kTileTokens) {
    const auto add = [&](const Rows& rows, const oracle::SectionRules& rules,
                         std::vector<std::vector<double>>* to) {
      for (auto& row : oracle::StoredTile({rows.begin() + first, rows.begin() + first + kTileTokens}, rules))
        to->push_back(std::move(row));
    };
    add(gathered, {tile_case.key_storage, tile_case.key_nonzeros, true}, &stored_keys);
    add(gathered_values, {tile_case.value_storage, tile_case.value_nonzeros, false}, &stored_values);
  }
}

std::vector<oracle::Output> Expected(const Rows& queries, const std::vector<std::vector<double>>& keys,
                                     const std::vector<std::vector<double>>& values,
                                     const std::vector<RowRange>& seen, double softcap) {
  std::vector<oracle::Output> expected;
  for (size_t row = 0; row < queries.size(); ++row) {
    const std::vector<double> query(queries[row].begin(), queries[row].end());
    const int64_t count = static_cast<int64_t>(keys.size());
    const int64_t begin = std::clamp<int64_t>(seen[row].begin, 0, count);
    const int64_t end = std::clamp<int64_t>(seen[row].end, 0, count);
    if (begin < end)
      expected.push_back(oracle::Attend(query, keys, values, softcap, begin, end));
    else
      expected.push_back({std::vector<double>(values[0].size()), -INFINITY});
  }
  return expected;
}

std::vector<float> Flatten(const Rows& rows) {
  std::vector<float> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

double RelativeError(const AttentionState& state, int channels, const std::vector<oracle::Output>& expected) {
  const int rows = static_cast<int>(expected.size());
  std::vector<float> output(static_cast<size_t>(rows) * channels);
  float* pointers[kMaxQueryRows];
  for (int row = 0; row < rows; ++row) pointers[row] = output.data() + row * channels;
  FinishAttention(state, rows, channels, nullptr, pointers);
  double difference = 0, norm = 0;
  for (int row = 0; row < rows; ++row) {
    for (int channel = 0; channel < channels; ++channel) {
      const double value = expected[row].values[channel];
      difference += std::pow(pointers[row][channel] - value, 2);
      norm += value * value;
    }
  }
  return std::sqrt(difference / norm);
}

double LogSumError(const AttentionState& state, const std::vector<oracle::Output>& expected) {
  double largest = 0;
  for (size_t row = 0; row < expected.size(); ++row) {
    if (std::isinf(expected[row].log_sum)) continue;
    const double log_sum = state.max[row] + std::log(static_cast<double>(state.sum[row]));
    largest = std::max(largest, std::abs(log_sum - expected[row].log_sum));
  }
  return largest;
}

void ExpectClose(const AttentionState& own, const AttentionState& other, int query_rows, int head_size,
                 double tolerance, const char* other_name) {
  for (int row = 0; row < query_rows; ++row) {
    EXPECT_NEAR(own.max[row], other.max[row], (std::abs(own.max[row]) + 1) * tolerance) << other_name;
    double difference = 0, norm = 0;
    for (int channel = 0; channel < head_size; ++channel) {
      const double a = own.accumulator[row][channel] / own.sum[row];
      const double b = other.accumulator[row][channel] / other.sum[row];
      difference += (a - b) * (a - b);
      norm += a * a;
    }
    EXPECT_LE(std::sqrt(difference / norm), tolerance) << other_name;
  }
}

}  // namespace kvprune
