#include <gtest/gtest.h>

#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

// So many sealed tiles that a decode step reads them in several tasks and merges what they give.
class LongDecode : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Tokens, LongDecode, testing::Values(2400, 4600));

TEST_P(LongDecode, MatchesTheRowsItSeesThroughWindowsSoftcapAndSinks) {
  RowsOnlyKernel kernel;
  for (const int64_t window : {0, 2100, 2144, 4200}) {
    SCOPED_TRACE(window);
    ToyModel model(6, 0, window);
    model.UsePromptKernel(&kernel);
    model.UseSoftcapAndSinks(1.5f, {4.0f, -3.0f, 7.0f, 6.0f});
    for (const bool exact : {true, false}) {
      const auto sequence = NewSequence(NewManager(), exact ? ExactPolicy() : MixedPolicy());
      model.Prompt(*sequence, GetParam());
      EXPECT_GT(sequence->sealed_tokens(), 33 * kTileTokens);
      // The second step's window ends a token later.
      for (int i = 0; i < 2; ++i) ExpectDecodeMatchesRows(model, *sequence, exact ? 1e-5 : 2e-2);
    }
  }
}

}  // namespace
}  // namespace kvprune::test
