namespace KvPrune.OnnxOps;

/// <summary>Bytes that one sequence takes, known before it is read.</summary>
/// <remarks>
/// Not counted is what ONNX Runtime's own attention kernel takes for itself while it reads a first prompt: in models with
/// softcap, smooth softmax or head sinks its logits, up to 64 MiB (or those of one token, where they take more: four bytes
/// for each query head and token of the prompt); in others little, unless the environment turns its flash path off.
/// </remarks>
/// <param name="ResidentBytes">After the prompt and the generated tokens.</param>
/// <param name="PrefillPeakBytes">The most it takes while the prompt is read.</param>
public readonly record struct KvBytesEstimate(long ResidentBytes, long PrefillPeakBytes);
