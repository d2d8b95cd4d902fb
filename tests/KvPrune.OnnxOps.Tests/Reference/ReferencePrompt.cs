using System.Numerics.Tensors;
using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>What the scores of one KV head are made from at the end of a prompt segment.</summary>
/// <param name="Shape">How the layer attends.</param>
/// <param name="Keys">All rows of the head at their positions, rotated; null where evicted.</param>
/// <param name="Values">All rows of the head at their positions; null where evicted.</param>
/// <param name="Leaving">First and count of the rows that leave the window.</param>
/// <param name="Rotated">Queries of the segment, [group][token][channel].</param>
/// <param name="Raw">The same before rotation.</param>
/// <param name="FirstQuery">Position of the segment's first token.</param>
/// <param name="Sinks">A logit of its own for each query head of the group, −∞ for none.</param>
/// <param name="Gram">Of the output projection, [channel][channel]; null where there is none.</param>
/// <param name="Probed">The most attention of probe steps to each row at its position.</param>
internal sealed record ReferencePrompt(
    AttentionShape Shape,
    IReadOnlyList<double[]?> Keys,
    IReadOnlyList<double[]?> Values,
    (int First, int Count) Leaving,
    double[][][] Rotated,
    double[][][] Raw,
    int FirstQuery,
    double[] Sinks,
    double[][]? Gram,
    IReadOnlyList<double> Probed)
{
    public int Group => Rotated.Length;

    public int SegmentTokens => Rotated[0].Length;

    /// <summary>The leaving rows' positions.</summary>
    public IEnumerable<int> LeavingRows => Enumerable.Range(Leaving.First, Leaving.Count);

    /// <summary>The last queries of the segment, all heads of the group together.</summary>
    public IEnumerable<(int Head, int Position, double[] Query)> Observed(int window) =>
        from head in Enumerable.Range(0, Group)
        from token in Enumerable.Range(Math.Max(0, SegmentTokens - window), Math.Min(window, SegmentTokens))
        select (head, FirstQuery + token, Rotated[head][token]);

    /// <summary>Σ over queries of their attention to each row at its position.</summary>
    public double[] AttentionMass(IEnumerable<(int Head, int Position, double[] Query)> queries)
    {
        var mass = new double[Keys.Count];
        foreach (var (head, position, query) in queries)
        {
            var weights = ReferenceAttention.Weights(Shape, query, position, Keys, Sinks[head]);
            TensorPrimitives.Add(mass, weights, mass);
        }

        return mass;
    }

    /// <summary>‖W_O v‖ = √(vᵀ G v).</summary>
    public double OutputNorm(double[] value)
    {
        var sum = value.Index().Sum(entry => entry.Item * ReferenceAttention.Dot(Gram![entry.Index], value));
        return Math.Sqrt(Math.Max(0, sum));
    }
}
