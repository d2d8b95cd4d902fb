#include <exception>

#include "api/kvprune.h"
#include "ops/pruned_attention.h"

// ONNX Runtime's entry point for custom op libraries. May be called for any number of sessions.
extern "C" KVP_API OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kvprune::kOrtApiVersion);
  if (api == nullptr)
    return nullptr;  // no API to report through; the session will not know the op and says so
  Ort::InitApi(api);
  try {
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
