namespace KvPrune.ModelBuilder.Onnx;

/// <summary>One dimension of a tensor: a number, or a name that stands for any.</summary>
internal readonly record struct Dimension(string? Name, long Value)
{
    public static implicit operator Dimension(string name) => new(name, 0);

    public static implicit operator Dimension(int value) => new(null, value);
}
