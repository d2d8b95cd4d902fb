namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>OgaElementType: the one that is used.</summary>
internal enum TensorElement
{
    Int64 = 7,
}
