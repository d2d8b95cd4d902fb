#include <gtest/gtest.h>

#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

struct Case {
  int past;  // tokens of a sealed segment before the deferred one
  int64_t window;
};

class Probes : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(PastsAndWindows, Probes,
                         testing::Values(Case{0, 0}, Case{0, 50}, Case{140, 0}, Case{140, 50}));

TEST_P(Probes, SeeWhatAContinuationSeesAndLeaveNothing) {
  constexpr int kTokens = 130;
  constexpr int kProbe = 40;
  const ToyModel model(11, 10000.0f, GetParam().window);
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, MixedPolicy());
  const auto continued = NewSequence(manager, MixedPolicy());
  for (Sequence* each : {sequence.get(), continued.get()})
    if (GetParam().past > 0) model.Prompt(*each, GetParam().past);
  ASSERT_TRUE(sequence->OpenDeferredSegment(kTokens, {{MixedPolicy()}}, kProbe).ok());
  ASSERT_TRUE(continued->OpenDeferredSegment(kTokens + kProbe, {}, 0).ok());
  for (Sequence* each : {sequence.get(), continued.get()}) model.Step(*each, kTokens);
  std::shared_ptr<Sequence> before;
  ASSERT_TRUE(sequence->SealAs(MixedPolicy(), &before).ok());
  const ReadBack rows = Read(*sequence, 1, 1);
  const auto expected = model.Step(*continued, kProbe);

  SerialTaskRunner tasks;
  for (const bool commit : {true, false, true}) {
    ASSERT_TRUE(sequence->BeginProbe(kProbe).ok());
    EXPECT_EQ(model.RunLayers(*sequence, tasks), expected);
    const Status ended = commit ? sequence->CommitStep() : sequence->RollbackStep();
    ASSERT_TRUE(ended.ok()) << ended.message();
    EXPECT_EQ(sequence->length(), GetParam().past + kTokens);
  }
  const ReadBack after = Read(*sequence, 1, 1);
  EXPECT_EQ(after.keys, rows.keys);
  EXPECT_EQ(after.values, rows.values);
  std::shared_ptr<Sequence> sealed;
  ASSERT_TRUE(sequence->SealAs(MixedPolicy(), &sealed).ok());
  ExpectSameCache(*sealed, *before);
}

TEST(Probe, RefusesWhatDoesNotFit) {
  const ToyModel model;
  ModelShape shape = kShape;
  shape.max_tokens = 60;
  const auto sequence = NewSequence(std::make_shared<Manager>(shape, 0), ExactPolicy());
  ASSERT_TRUE(sequence->OpenDeferredSegment(50, {}, 20).ok());
  model.Step(*sequence, 50);
  EXPECT_EQ(sequence->BeginProbe(0).code(), KVP_INVALID_ARGUMENT);
  const Status longer = sequence->BeginProbe(21);
  EXPECT_EQ(longer.code(), KVP_INVALID_ARGUMENT);
  EXPECT_NE(longer.message().find("at most 20"), std::string::npos) << longer.message();
  const Status beyond = sequence->BeginProbe(11);
  EXPECT_EQ(beyond.code(), KVP_INVALID_ARGUMENT);
  EXPECT_NE(beyond.message().find("model's 60"), std::string::npos) << beyond.message();
  ASSERT_TRUE(sequence->BeginProbe(10).ok());
  EXPECT_EQ(sequence->BeginProbe(10).code(), KVP_BUSY);
  EXPECT_EQ(sequence->Rewind(0).code(), KVP_BUSY);
  EXPECT_EQ(sequence->CommitStep().code(), KVP_INVALID_STATE) << "no layer has run";
  ASSERT_TRUE(sequence->RollbackStep().ok());
  EXPECT_EQ(sequence->length(), 50);
}

}  // namespace
}  // namespace kvprune::test
