#include "kernels/avx2/avx2.h"

#define KVPRUNE_VECTOR_BYTES 32
#include "kernels/score_panels.h"

namespace kvprune::avx2 {

const ScoreKernels kScores = ScorePanels::Table();

}  // namespace kvprune::avx2
