#ifndef KVPRUNE_TESTS_NATIVE_PRUNING_HEAD_CASE_H_
#define KVPRUNE_TESTS_NATIVE_PRUNING_HEAD_CASE_H_

#include <random>
#include <vector>

#include "pruning/query_attention.h"

namespace kvprune {

using Matrix = std::vector<std::vector<double>>;

// Random rows of one KV head: `tokens` keys and values, and the queries of the last `observed` of them.
struct HeadCase {
  HeadCase(int64_t tokens, int64_t observed, int group, int head_size, std::mt19937* random);

  QueryRows Queries() const { return {queries.data(), query_stride, observed, group, tokens - observed}; }
  TokenRows Keys() const { return {keys.data(), head_size, tokens, 0}; }
  TokenRows Values() const { return {values.data(), head_size, tokens, 0}; }
  const float* Query(int64_t index, int head) const {
    return queries.data() + index * query_stride + static_cast<int64_t>(head) * head_size;
  }

  // What the library computes, as the formulas say it, in double precision: for every query and head of the
  // group the attention to every token.
  Matrix Attention(double softcap = 0, int64_t window = 0, const std::vector<float>& sinks = {}) const;

  std::vector<float> Scratch() const {
    return std::vector<float>(static_cast<size_t>(AttentionScratchFloats(tokens, 1, head_size)));
  }

  int64_t tokens;
  int64_t observed;
  int group;
  int head_size;
  int64_t query_stride;
  float scale;
  std::vector<float> keys, values, queries;
};

std::vector<float> RandomFloats(size_t count, std::mt19937* random, float spread = 1);

// Lengths around the borders of tiles, groups and windows, and random ones.
std::vector<int64_t> BorderLengths(std::mt19937* random);

}  // namespace kvprune

#endif  // KVPRUNE_TESTS_NATIVE_PRUNING_HEAD_CASE_H_
