#include "kernels/avx512/avx512.h"

#define KVPRUNE_VECTOR_BYTES 64
#include "kernels/score_panels.h"

namespace kvprune::avx512 {

const ScoreKernels kScores = ScorePanels::Table();

}  // namespace kvprune::avx512
