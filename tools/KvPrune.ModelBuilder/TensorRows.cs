namespace KvPrune.ModelBuilder;

/// <summary>Some rows of a checkpoint's tensor; the elements of a vector count as rows of one element.</summary>
/// <param name="Tensor">The tensor's name in the source.</param>
/// <param name="Shape">The whole tensor's shape.</param>
/// <param name="First">The first row.</param>
/// <param name="Count">The number of rows.</param>
internal sealed record TensorRows(string Tensor, int[] Shape, int First, int Count)
{
    public int Columns => Shape.Length == 1 ? 1 : Shape[1];
}
