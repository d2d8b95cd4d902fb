// ONNX Runtime's headers as this library uses them: the API table comes from the caller at registration.
#ifndef KVPRUNE_OPS_ORT_H_
#define KVPRUNE_OPS_ORT_H_

#include "onnxruntime_cxx_api.h"

namespace kvprune {

// Everything used here exists since this version, so that older runtimes than the headers' load the library.
inline constexpr uint32_t kOrtApiVersion = 22;

}  // namespace kvprune

#endif  // KVPRUNE_OPS_ORT_H_
