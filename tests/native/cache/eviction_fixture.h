#ifndef KVPRUNE_TESTS_CACHE_EVICTION_FIXTURE_H_
#define KVPRUNE_TESTS_CACHE_EVICTION_FIXTURE_H_

#include "cache/model_fixture.h"

namespace kvprune::test {

// Nothing but tokens removed, everything in float.
Policy Evicting(TokenScore score, float sparsity, HeadBudgets heads = HeadBudgets::kUniform);

int64_t KeptTokensOf(Sequence& sequence, int layer, int kv_head);
// Over all layers and heads.
int64_t AllKept(Sequence& sequence);

}  // namespace kvprune::test

#endif  // KVPRUNE_TESTS_CACHE_EVICTION_FIXTURE_H_
