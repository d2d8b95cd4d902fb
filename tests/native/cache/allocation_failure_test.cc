// Every allocation of every call fails once: the call says so, and what it was for can be done afterwards.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <new>

#include "allocation_fault.h"
#include "api/kvprune.h"
#include "cache/handle_table.h"
#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

constexpr int kTokens = 400;

// The operator's tasks run inside a callback of ONNX Runtime, where nothing may be thrown.
class NoAllocationInTasks final : public TaskRunner {
 public:
  bool violated() const { return violated_; }

 protected:
  void Run(size_t count, void (*task)(void*, size_t), void* user) override {
    AllocationFault none(0);
    for (size_t i = 0; i < count; ++i) task(user, i);
    violated_ = violated_ || none.hit();
  }

 private:
  bool violated_ = false;
};

// A sequence as a host sees it: behind a handle, fed from a fixed run of rows.
class Conversation {
 public:
  explicit Conversation(const std::shared_ptr<Manager>& manager, const Policy& policy = MixedPolicy())
      : sequence_(NewSequence(manager, policy)), handle_(HandleTable::Instance().Add(sequence_)) {
    uint32_t state = 1;
    for (auto* rows : {&query_, &key_, &value_}) {
      rows->resize(static_cast<size_t>(kTokens) * kShape.query_heads * kShape.head_size);
      for (float& x : *rows) {
        state = state * 1664525u + 1013904223u;
        x = static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1.0f;
      }
    }
    output_.resize(query_.size());
  }
  ~Conversation() { EXPECT_EQ(kvp_sequence_release(handle_), KVP_OK); }

  int64_t handle() const { return handle_; }
  Sequence& sequence() { return *sequence_; }
  bool allocated_in_tasks() const { return tasks_.violated(); }
  kvp_status rolled_back() const { return rolled_back_; }

  // One step of at most `most` tokens towards a prompt of `prompt` tokens, then of one token.
  kvp_status Step(int prompt, int most) {
    kvp_sequence_info info;
    kvp_status status = kvp_sequence_get_info(handle_, &info);
    if (status == KVP_OK && info.length < prompt && info.open_segment_tokens == 0) {
      status = kvp_sequence_open_segment(handle_, prompt - info.length);
      info.open_segment_tokens = prompt - info.length;
    }
    if (status != KVP_OK) return status;
    const auto tokens =
        static_cast<int32_t>(std::max<int64_t>(1, std::min<int64_t>(most, info.open_segment_tokens)));
    status = kvp_step_begin(&handle_, &tokens, 1);
    if (status != KVP_OK) return status;
    status = RunLayers();
    if (status == KVP_OK) status = kvp_step_commit(&handle_, 1);
    if (status != KVP_OK) rolled_back_ = kvp_step_rollback(&handle_, 1);
    return status;
  }

  void Reach(int prompt, int most, int64_t length) {
    while (sequence_->length() < length) ASSERT_EQ(Step(prompt, most), KVP_OK) << kvp_last_error();
  }

 private:
  // As the operator does.
  kvp_status RunLayers() {
    try {
      for (int layer = 0; layer < kShape.layers; ++layer) {
        LayerParameters parameters;
        parameters.layer = layer;
        parameters.scale = 0.2f;
        const int64_t width = static_cast<int64_t>(kShape.kv_heads) * kShape.head_size;
        const int64_t first = sequence_->length();
        const LayerRows rows = {sequence_.get(), query_.data() + first * width * kShape.group(),
                                key_.data() + first * width, value_.data() + first * width, output_.data()};
        LayerRun run;
        Status status = LayerRun::Begin(*sequence_, layer, &run);
        if (status.ok())
          status = sequence_->StepIsPrompt() ? RunPromptLayer(parameters, rows, nullptr, tasks_)
                                             : RunDecodeLayer(parameters, {&rows, 1}, tasks_);
        if (!status.ok()) return status.code();
        run.Complete();
      }
    } catch (const std::bad_alloc&) {
      return KVP_OUT_OF_MEMORY;
    }
    return KVP_OK;
  }

  const std::shared_ptr<Sequence> sequence_;
  const int64_t handle_;
  std::vector<float> query_;
  std::vector<float> key_;
  std::vector<float> value_;
  std::vector<float> output_;
  NoAllocationInTasks tasks_;
  kvp_status rolled_back_ = KVP_OK;
};

Policy DecodeEvicting() {
  Policy policy = MixedPolicy();
  policy.eviction = {.score = TokenScore::kAccumulatedAttention, .token_budget = 150, .while_decoding = true};
  return policy;
}

struct Moment {
  const char* name;
  int prompt;
  int most;        // tokens of a step
  int64_t length;  // before the step whose allocations fail
  Policy policy = MixedPolicy();
};

class AllocationFailure : public testing::TestWithParam<Moment> {};
// A tail is full at 96 rows, a tile is packed ahead from 64 on.
INSTANTIATE_TEST_SUITE_P(
    Moments, AllocationFailure,
    testing::Values(Moment{"WholePrompt", 170, 170, 0}, Moment{"FirstChunk", 170, 100, 0},
                    Moment{"SealingChunk", 170, 100, 100}, Moment{"PlainStep", 170, 170, 170},
                    Moment{"StepOverSharedTail", 40, 40, 40}, Moment{"PackingStep", 40, 40, 65},
                    Moment{"SealingStepOverACheckpoint", 40, 40, 95}, Moment{"SealingStep", 40, 40, 159},
                    Moment{"ScoringChunk", 160, 100, 100, DecodeEvicting()},
                    Moment{"ScoringStepOverACheckpoint", 160, 160, 160, DecodeEvicting()},
                    Moment{"ScoringStep", 160, 160, 161, DecodeEvicting()},
                    Moment{"EvictingStep", 160, 160, 192, DecodeEvicting()}),
    [](const auto& info) { return info.param.name; });

TEST_P(AllocationFailure, OfAStepIsReportedAndTheStepCanBeTakenAgain) {
  const Moment& moment = GetParam();
  const auto manager = NewManager();
  Conversation expected(manager, moment.policy);
  const int64_t end = std::max<int64_t>(moment.prompt, moment.length) + 40;
  expected.Reach(moment.prompt, moment.most, end);
  int64_t successes = 0;
  for (bool hit = true; hit; ++successes) {
    SCOPED_TRACE(successes);
    ASSERT_LT(successes, 500);
    Conversation conversation(manager, moment.policy);
    conversation.Reach(moment.prompt, moment.most, moment.length);
    kvp_status status;
    {
      AllocationFault fault(successes);
      status = conversation.Step(moment.prompt, moment.most);
      hit = fault.hit();
    }
    if (!hit) ASSERT_EQ(status, KVP_OK);
    // What is packed ahead can wait.
    if (status != KVP_OK) ASSERT_EQ(status, KVP_OUT_OF_MEMORY) << kvp_last_error();
    ASSERT_EQ(conversation.rolled_back(), KVP_OK);
    conversation.Reach(moment.prompt, moment.most, end);
    ASSERT_FALSE(conversation.allocated_in_tasks());
    ExpectSameCache(conversation.sequence(), expected.sequence());
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  EXPECT_GT(successes, 1) << "the step allocates nothing";
}

TEST(AllocationFailureOf, OtherCallsLeavesTheSequenceAsItWas) {
  const auto manager = NewManager();
  Conversation conversation(manager);
  conversation.Reach(170, 170, 250);
  const int64_t bytes = BytesInUse(*manager);
  int64_t made = 0;
  const auto exhaust = [&](const std::function<kvp_status()>& call) {
    for (int64_t successes = 0;; ++successes) {
      kvp_status status;
      bool hit;
      {
        AllocationFault fault(successes);
        status = call();
        hit = fault.hit();
      }
      if (!hit) {
        EXPECT_EQ(status, KVP_OK) << kvp_last_error();
        return successes;
      }
      if (status == KVP_OK) continue;
      EXPECT_EQ(status, KVP_OUT_OF_MEMORY) << kvp_last_error();
      EXPECT_EQ(BytesInUse(*manager), bytes) << successes;
      EXPECT_EQ(manager->sequences(), 1) << successes;
    }
  };
  EXPECT_GT(exhaust([&] { return kvp_sequence_fork(conversation.handle(), &made); }), 0);
  EXPECT_EQ(kvp_sequence_release(made), KVP_OK);
  exhaust([&] { return kvp_sequence_checkpoint(conversation.handle()); });
  exhaust([&] { return kvp_sequence_open_segment(conversation.handle(), 10); });
  EXPECT_EQ(exhaust([&] { return kvp_sequence_rewind(conversation.handle(), 170); }), 0)
      << "rewinding frees memory where there is none";

  Conversation expected(manager);
  expected.Reach(170, 170, 300);
  conversation.Reach(170, 170, 300);
  ExpectSameCache(conversation.sequence(), expected.sequence());
}

}  // namespace
}  // namespace kvprune::test
