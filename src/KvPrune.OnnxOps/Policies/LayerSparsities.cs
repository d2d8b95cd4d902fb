using System.Collections;
using System.Runtime.CompilerServices;

namespace KvPrune.OnnxOps;

/// <summary>The sparsities of a model's layers in order. Immutable; equal when its entries are.</summary>
[CollectionBuilder(typeof(LayerSparsities), nameof(Create))]
public sealed class LayerSparsities : IReadOnlyList<LayerSparsity>, IEquatable<LayerSparsities>
{
    private readonly LayerSparsity[] _layers;

    private LayerSparsities(LayerSparsity[] layers) => _layers = layers;

    /// <summary>How many layers it describes.</summary>
    public int Count => _layers.Length;

    /// <summary>A layer's sparsities.</summary>
    public LayerSparsity this[int index] => _layers[index];

    /// <summary>The given layers.</summary>
    /// <exception cref="ArgumentException">An entry is null.</exception>
    public static LayerSparsities Create(ReadOnlySpan<LayerSparsity> layers)
    {
        for (var i = 0; i < layers.Length; i++)
        {
            if (layers[i] is null)
                throw new ArgumentException($"Layer {i} has no sparsities.", nameof(layers));
        }

        return new LayerSparsities(layers.ToArray());
    }

    /// <inheritdoc/>
    public bool Equals(LayerSparsities? other) => other is not null && _layers.AsSpan().SequenceEqual(other._layers);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as LayerSparsities);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var layer in _layers)
            hash.Add(layer);
        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join<LayerSparsity>(", ", _layers)}]";

    /// <inheritdoc/>
    public IEnumerator<LayerSparsity> GetEnumerator() => ((IEnumerable<LayerSparsity>)_layers).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
