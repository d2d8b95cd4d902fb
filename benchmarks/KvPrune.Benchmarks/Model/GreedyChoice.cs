using System.Numerics.Tensors;
using KvPrune.AI.Models;

namespace KvPrune.Benchmarks.Model;

/// <summary>Draws the likeliest token that does not end the answer, so that every contestant runs to the end.</summary>
internal sealed class GreedyChoice(GenAIModelFolder folder)
{
    public int Of(Span<float> logits)
    {
        foreach (int end in folder.EndTokens)
            logits[end] = float.NegativeInfinity;
        return TensorPrimitives.IndexOfMax(logits);
    }
}
