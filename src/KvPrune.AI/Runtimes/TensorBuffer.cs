using Microsoft.ML.OnnxRuntime;

namespace KvPrune.AI.Runtimes;

/// <summary>Memory for one input or output that is used again at every run; it grows by doubling.</summary>
internal sealed class TensorBuffer<T> where T : unmanaged
{
    private T[] _memory = [];

    /// <summary>The first <paramref name="count"/> elements. What an earlier run left stays in them.</summary>
    public Span<T> Take(int count)
    {
        if (_memory.Length < count) _memory = new T[Math.Max(count, 2 * _memory.Length)];
        return _memory.AsSpan(0, count);
    }

    /// <summary>A tensor over the first elements, without a copy; the caller disposes it.</summary>
    public OrtValue AsTensor(params long[] shape)
    {
        int count = checked((int)shape.Aggregate(1L, (product, dimension) => product * dimension));
        return OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, _memory.AsMemory(0, count), shape);
    }
}
