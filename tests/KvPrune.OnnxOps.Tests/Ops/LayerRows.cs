using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>The rows of the same tokens in every layer.</summary>
internal sealed record LayerRows(IReadOnlyList<TokenRows> Layers)
{
    public int Count => Layers[0].Count;

    /// <summary>Layers that all see the same rows.</summary>
    public static LayerRows Same(TokenRows rows) => new([.. Enumerable.Repeat(rows, rows.Shape.Layers)]);

    /// <summary>The graph inputs of one sequence.</summary>
    public Dictionary<string, OrtValue> Inputs() => Layers[0].Shape.LayerInputs
        ? Layers.Index().SelectMany(layer => layer.Item.Inputs(1, $".{layer.Index}")).ToDictionary()
        : Layers[0].Inputs(1);

    public LayerRows this[Range range] => new([.. Layers.Select(rows => rows[range])]);
}
