#include "cache/eviction_fixture.h"

#include <numeric>

namespace kvprune::test {

Policy Evicting(TokenScore score, float sparsity, HeadBudgets heads) {
  Policy policy = ExactPolicy();
  policy.eviction = {.score = score,
                     .sparsity = sparsity,
                     .sink_tokens = 4,
                     .pool_kernel = 7,
                     .heads = heads,
                     .head_floor = 0.2f};
  return policy;
}

int64_t KeptTokensOf(Sequence& sequence, int layer, int kv_head) {
  const ReadBack rows = Read(sequence, layer, kv_head);
  return std::accumulate(rows.kept.begin(), rows.kept.end(), int64_t{0});
}

int64_t AllKept(Sequence& sequence) {
  int64_t kept = 0;
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) kept += KeptTokensOf(sequence, layer, head);
  return kept;
}

}  // namespace kvprune::test
