namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>OgaElementType: those that are used.</summary>
internal enum TensorElement
{
    Float32 = 1,
    Int32 = 6,
    Int64 = 7,
}
