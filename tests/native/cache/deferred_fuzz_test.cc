#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

// Random calls in any order, most of them refused. Whatever happened, a cache that loses nothing holds the
// model's rows at every position it has, and what is dropped is freed.
class Calls {
 public:
  explicit Calls(uint32_t seed)
      : random_(seed), manager_(NewManager()), sequence_(NewSequence(manager_, ExactPolicy())) {}

  void Make(int count) {
    for (int i = 0; i < count; ++i) {
      MakeOne();
      if (testing::Test::HasFailure()) return;
    }
    (void)sequence_->RollbackStep();
    ExpectModelRows(*sequence_);
    for (const auto& sealed : sealed_) {
      ExpectModelRows(*sealed);
      model_.Decode(*sealed, 70);
      ExpectModelRows(*sealed);
    }
    ASSERT_TRUE(sequence_->Rewind(0).ok());
    model_.Prompt(*sequence_, 100, 60);
    ExpectModelRows(*sequence_);
    sealed_.clear();
    sequence_.reset();
    EXPECT_EQ(BytesInUse(*manager_), 0);
    EXPECT_EQ(manager_->sequences(), 0);
  }

  int sealed() const { return made_; }

 private:
  int Pick(int count) { return static_cast<int>(random_() % static_cast<uint32_t>(count)); }

  void MakeOne() {
    switch (Pick(14)) {
      case 0:
        (void)sequence_->OpenDeferredSegment(1 + Pick(150), {{MixedPolicy()}}, Pick(20));
        break;
      case 1:
        (void)sequence_->OpenSegment(1 + Pick(150));
        break;
      case 2:
        (void)sequence_->BeginProbe(1 + Pick(20));
        break;
      case 3:
        (void)sequence_->Rewind(Pick(4) == 0 ? 0 : Pick(static_cast<int>(sequence_->length()) + 2));
        break;
      case 4: {
        std::shared_ptr<Sequence> fork;
        (void)sequence_->Fork(&fork);
        break;
      }
      case 5: {
        std::shared_ptr<Sequence> sealed;
        const Policy policy = Pick(2) == 0 ? ExactPolicy() : MixedPolicy();
        if (!sequence_->SealAs(policy, &sealed).ok()) break;
        ++made_;
        if (policy.key_storage == Storage::kFloat32) sealed_.push_back(std::move(sealed));
        break;
      }
      case 6:
        FillSome();
        break;
      default:
        EndStep();
        if (Pick(3) > 0) BeginStep();
    }
  }

  void BeginStep() {
    kvp_sequence_info info;
    if (!sequence_->GetInfo(&info).ok()) return;
    const int64_t left = info.open_segment_tokens;
    const int tokens = left > 0 && Pick(2) == 0 ? 1 + Pick(static_cast<int>(left)) : static_cast<int>(left);
    (void)sequence_->BeginStep(std::max(tokens, 1));
  }

  // Runs the layers of the open step, if there is one, and keeps or drops it.
  void EndStep() {
    SerialTaskRunner tasks;
    if (Pick(4) > 0 && sequence_->CheckStepComplete().message().find("no open step") == std::string::npos) {
      (void)model_.RunLayers(*sequence_, tasks);
      if (Pick(4) > 0) EXPECT_TRUE(sequence_->CommitStep().ok());
    }
    EXPECT_TRUE(sequence_->RollbackStep().ok());
  }

  void FillSome() {
    kvp_sequence_info info;
    if (!sequence_->GetInfo(&info).ok()) return;
    const int64_t tokens = info.open_segment_tokens;
    std::vector<float> keys;
    std::vector<float> values;
    const int layer = Pick(kShape.layers);
    for (int head = 0; head < kShape.kv_heads; ++head)
      for (int64_t t = 0; t < tokens; ++t) {
        const auto key = model_.Key(layer, info.length + t, head);
        const auto value = model_.Value(layer, info.length + t, head);
        keys.insert(keys.end(), key.begin(), key.end());
        values.insert(values.end(), value.begin(), value.end());
      }
    const std::vector<float> queries(tokens * kShape.query_heads * kShape.head_size);
    (void)sequence_->Fill(layer, tokens, keys.data(), values.data(), queries.data(), tokens);
  }

  void ExpectModelRows(Sequence& sequence) {
    for (int layer = 0; layer < kShape.layers; ++layer) {
      const ReadBack rows = Read(sequence, layer, 1);
      for (int64_t t = 0; t < sequence.length(); ++t) {
        const int64_t first = t * kShape.head_size;
        const auto key = model_.Key(layer, t, 1);
        const auto value = model_.Value(layer, t, 1);
        ASSERT_TRUE(std::equal(key.begin(), key.end(), rows.keys.begin() + first)) << "token " << t;
        ASSERT_TRUE(std::equal(value.begin(), value.end(), rows.values.begin() + first)) << "token " << t;
      }
    }
  }

  std::minstd_rand random_;
  const ToyModel model_;
  std::shared_ptr<Manager> manager_;
  std::shared_ptr<Sequence> sequence_;
  std::vector<std::shared_ptr<Sequence>> sealed_;
  int made_ = 0;
};

TEST(Deferred, RandomCallsLoseNoRows) {
  int sealed = 0;
  for (uint32_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Calls calls(seed);
    calls.Make(80);
    if (HasFailure()) return;
    sealed += calls.sealed();
  }
  EXPECT_GT(sealed, 20) << "the calls hardly reach what is to be tested";
}

}  // namespace
}  // namespace kvprune::test
