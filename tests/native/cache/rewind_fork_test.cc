#include <gtest/gtest.h>

#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

TEST(Rewind, ToACheckpointContinuesAsTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 100);

  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 150);
  ToyModel(99).Decode(*sequence, 80);  // other tokens, far enough to seal
  ASSERT_TRUE(sequence->Rewind(150).ok());
  model.Decode(*sequence, 100);
  ExpectSameCache(*sequence, *expected);
  ASSERT_TRUE(sequence->Rewind(150).ok()) << "the checkpoint outlives a rewind to it";
  model.Decode(*sequence, 100);
  ExpectSameCache(*sequence, *expected);
}

TEST(Rewind, InsideTheTailContinuesAsTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 70);
  model.Decode(*expected, 60);
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 70);
  model.Decode(*sequence, 3);
  ToyModel(99).Decode(*sequence, 5);
  ASSERT_TRUE(sequence->Rewind(73).ok());
  model.Decode(*sequence, 57);
  ExpectSameCache(*sequence, *expected);
}

TEST(Rewind, ElsewhereIsRefusedAndChangesNothing) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*sequence, 200);
  model.Decode(*sequence, 90);
  EXPECT_EQ(sequence->Rewind(100).code(), KVP_NOT_REWINDABLE);
  EXPECT_EQ(sequence->Rewind(291).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->Rewind(-1).code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(sequence->length(), 290);
  ExpectDecodeMatchesRows(model, *sequence, 2e-2);
}

TEST(Rewind, DropsAnOpenSegment) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 80);
  const auto sequence = NewSequence(manager, MixedPolicy());
  model.Prompt(*sequence, 80);
  ASSERT_TRUE(sequence->OpenSegment(50).ok());
  model.Step(*sequence, 20);
  EXPECT_EQ(sequence->Rewind(90).code(), KVP_NOT_REWINDABLE);
  ASSERT_TRUE(sequence->Rewind(80).ok());
  ExpectSameCache(*sequence, *expected);
  EXPECT_EQ(sequence->manager().account()->InUse(MemoryUse::kStaging), 0);
}

TEST(Rewind, ToNothingStartsAfresh) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 130);
  const auto sequence = NewSequence(manager, MixedPolicy());
  ToyModel(7).Prompt(*sequence, 180);
  ASSERT_TRUE(sequence->Rewind(0).ok());
  model.Prompt(*sequence, 130);
  ExpectSameCache(*sequence, *expected);
}

TEST(Fork, BothSidesContinueAsIfAlone) {
  const ToyModel model;
  const ToyModel other(42);
  const auto manager = NewManager();
  const auto original = NewSequence(manager, MixedPolicy());
  model.Prompt(*original, 150);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(original->Fork(&fork).ok());
  kvp_sequence_info info;
  ASSERT_TRUE(fork->GetInfo(&info).ok());
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kSealed), info.sealed_bytes)
      << "tiles are shared, not copied";

  ASSERT_TRUE(fork->Checkpoint().ok());
  other.Decode(*fork, 90);
  model.Decode(*original, 90);
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150);
  model.Decode(*expected, 90);
  ExpectSameCache(*original, *expected);
  const auto expected_fork = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected_fork, 150);
  other.Decode(*expected_fork, 90);
  ExpectSameCache(*fork, *expected_fork);

  ASSERT_TRUE(fork->Rewind(150).ok());
  model.Decode(*fork, 90);
  ExpectSameCache(*fork, *expected);
}

TEST(Fork, OutlivesTheOriginal) {
  const ToyModel model;
  const auto manager = NewManager();
  auto original = NewSequence(manager, MixedPolicy());
  model.Prompt(*original, 150);
  std::shared_ptr<Sequence> fork;
  ASSERT_TRUE(original->Fork(&fork).ok());
  original.reset();
  ExpectDecodeMatchesRows(model, *fork, 2e-2);
  fork.reset();
  EXPECT_EQ(BytesInUse(*manager), 0);
  EXPECT_EQ(manager->sequences(), 0);
}

}  // namespace
}  // namespace kvprune::test
