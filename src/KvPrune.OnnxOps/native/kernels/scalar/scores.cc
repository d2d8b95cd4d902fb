#include "kernels/scalar/scalar.h"

#define KVPRUNE_VECTOR_BYTES 16
#include "kernels/score_panels.h"

namespace kvprune::scalar {

const ScoreKernels kScores = ScorePanels::Table();

}  // namespace kvprune::scalar
