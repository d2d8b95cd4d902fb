#include <exception>

#include "api/kvprune.h"
#include "ops/pruned_attention.h"

// ONNX Runtime's entry point for custom op libraries. May be called for any number of sessions.
extern "C" KVP_API OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kvprune::kOrtApiVersion);
  if (api == nullptr) {
    // The oldest table, which every runtime has, can say that the runtime is too old.
    return base->GetApi(1)->CreateStatus(ORT_FAIL, "KvPrune needs ONNX Runtime 1.24 or newer");
  }
  try {
    static const OrtApi* const in_use = [api] {
      Ort::InitApi(api);
      return api;
    }();
    if (in_use != api)
      return api->CreateStatus(ORT_FAIL, "KvPrune is in use by another ONNX Runtime in this process");
    static const kvprune::PrunedAttentionOp op;
    static const Ort::CustomOpDomain& domain = []() -> const Ort::CustomOpDomain& {
      // Sessions refer to it until the process ends.
      auto& made = *new Ort::CustomOpDomain("kvprune");
      made.Add(&op);
      return made;
    }();
    return api->AddCustomOpDomain(
        options, const_cast<OrtCustomOpDomain*>(static_cast<const OrtCustomOpDomain*>(domain)));
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  } catch (...) {
    return api->CreateStatus(ORT_FAIL, "registering KvPrune's operator failed unexpectedly");
  }
}
