using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Runs the part of a graph that makes an additive mask at chosen sizes and compares what it gives with the causal mask
/// [batch, 1 or heads, S, T]. Small sizes go first and show how fast the part grows, so that no size is run that would
/// take much memory.
/// </summary>
internal sealed class MaskProbe : IDisposable
{
    // Masked logits of at most this are as good as -infinity.
    private const float Masked = -1e4f;

    // A past beyond the windows that models have (4,096); as [T, T] it takes 100 MB.
    private const int LongPast = 5_000;
    private const int LongPrompt = 150;
    private const int LargestNumber = 4_096;

    // Of any value on the way: 256 MiB in float32.
    private const double MostElements = 1 << 26;

    // Where growth is known well enough to go on to the longest size at once.
    private const int Measured = 64;

    private static readonly (int Batch, int Tokens, int Past)[] SmallSizes = [(1, 1, 0), (1, 5, 0), (2, 7, 0), (1, 1, 9), (2, 1, 40)];

    private readonly MaskSubgraph _part;
    private readonly int _heads;
    private readonly InferenceSession _values;
    private readonly InferenceSession _result;

    private MaskProbe(MaskSubgraph part, int heads)
    {
        (_part, _heads) = (part, heads);
        _values = CreateSession(part.ToModel(withIntermediates: true));
        try
        {
            _result = CreateSession(WithFloatResult(part));
        }
        catch
        {
            _values.Dispose();
            throw;
        }
    }

    /// <summary>Makes sure that <paramref name="part"/> gives the causal mask of a node of <paramref name="heads"/> heads.</summary>
    /// <exception cref="ModelRewriteException">It does not, or finding out would take too much memory; says why.</exception>
    public static void RequireCausal(MaskSubgraph part, int heads)
    {
        if (part.LargestNumber > LargestNumber)
        {
            throw new ModelRewriteException(
                $"it reads the number {part.LargestNumber}, so it may change at a length beyond those that are tried (up to {LargestNumber})");
        }

        try
        {
            using var probe = new MaskProbe(part, heads);
            foreach (var (batch, tokens, past) in SmallSizes)
                probe.Check(batch, tokens, past);
            probe.Grow(LongPast, past => (1, past));
            // A window that is one of the part's numbers hides a key from the token that many tokens on, or from the next;
            // the longest size has the shorter ones in it.
            probe.Grow(Math.Max(LongPrompt, (int)part.LargestNumber + 2), tokens => (tokens, 0));
        }
        catch (Exception e) when (e is not ModelRewriteException)
        {
            throw new ModelRewriteException($"it cannot be computed by itself: {e.Message}", e);
        }
    }

    public void Dispose()
    {
        _values.Dispose();
        _result.Dispose();
    }

    private static ModelProto WithFloatResult(MaskSubgraph part)
    {
        const string output = "kvprune/mask";
        var model = part.ToModel(withIntermediates: false);
        var cast = new NodeProto { Name = output, OpType = "Cast", Input = { part.Value }, Output = { output } };
        cast.Attribute.Add(NodeAttribute.Int("to", (long)DataType.Float));
        model.Graph.Node.Add(cast);
        model.Graph.Output.Clear();
        model.Graph.Output.Add(new ValueInfoProto { Name = output });
        return model;
    }

    // Nothing is computed ahead, at sizes that nobody looked at, and memory goes back at once.
    private static InferenceSession CreateSession(ModelProto model)
    {
        using var options = new SessionOptions
        {
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL,
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL,
            EnableCpuMemArena = false,
            EnableMemoryPattern = false,
            IntraOpNumThreads = 1,
        };
        return new InferenceSession(model.ToByteArray(), options);
    }

    // Doubles the size while measuring, then checks the target.
    private void Grow(int target, Func<int, (int Tokens, int Past)> size)
    {
        double? before = null;
        for (var n = 1; ; n *= 2)
        {
            var (tokens, past) = size(n);
            Check(1, tokens, past);
            var elements = LargestValue(tokens, past);
            // [T, T] at least: parts of the shape that stay hide in small sizes how fast the others grow.
            var degree = Math.Max(2, before is { } smaller ? Math.Log2(elements / smaller) : 0);
            var next = n < Measured ? 2 * n : target;
            if (elements * Math.Pow((double)next / n, degree) > MostElements)
            {
                (tokens, past) = size(next);
                throw new ModelRewriteException(
                    $"it would make values of more than {MostElements} elements for {tokens} tokens after {past} (of {elements} at {n})");
            }

            if (n >= Measured)
                break;
            before = elements;
        }

        var (longTokens, longPast) = size(target);
        Check(1, longTokens, longPast);
    }

    private double LargestValue(int tokens, int past) =>
        Run(_values, 1, tokens, past, outputs => outputs.Max(output => Math.Max(1.0, output.GetTensorTypeAndShape().ElementCount)));

    private void Check(int batch, int tokens, int past) => Run(_result, batch, tokens, past, outputs =>
    {
        Compare(outputs[0].GetTensorTypeAndShape().Shape, outputs[0], batch, tokens, past);
        return true;
    });

    // Row r of the batch has r padding tokens at its end, which a host marks in the attention mask.
    private T Run<T>(InferenceSession session, int batch, int tokens, int past, Func<IReadOnlyList<OrtValue>, T> read)
    {
        var total = past + tokens;
        var valid = new long[batch * total];
        for (var i = 0; i < valid.Length; i++)
            valid[i] = i % total < total - (i / total) ? 1 : 0;
        var values = session.InputMetadata.ToDictionary(input => input.Key, input =>
            input.Key == _part.Mask ? OrtValue.CreateTensorValueFromMemory(valid, [batch, total])
            : input.Value.ElementDataType == TensorElementType.Int64
                ? OrtValue.CreateTensorValueFromMemory(new long[batch * tokens], [batch, tokens])
            // Without channels a past of any length is free.
            : OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), [batch, input.Value.Dimensions[1], past, 0]));
        using var options = new RunOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        try
        {
            using var outputs = session.Run(options, values, session.OutputNames);
            return read(outputs);
        }
        finally
        {
            foreach (var value in values.Values)
                value.Dispose();
        }
    }

    private void Compare(long[] shape, OrtValue result, int batch, int tokens, int past)
    {
        var total = past + tokens;
        if (shape.Length != 4 || (shape[0] != batch && shape[0] != 1) || (shape[1] != _heads && shape[1] != 1)
            || shape[2] != tokens || shape[3] != total)
        {
            throw new ModelRewriteException(
                $"its shape is [{string.Join(", ", shape)}] for {batch} rows of {tokens} tokens after {past} and {_heads} heads");
        }

        var bias = result.GetTensorDataAsSpan<float>();
        var rowElements = shape[1] * tokens * total;
        for (var i = 0; i < bias.Length; i++)
        {
            var (row, token, key) = (i / rowElements, i / total % tokens, i % total);
            if (past + token >= total - row)
                continue; // a padding token's own row is anything
            var visible = key <= past + token;
            // Written so that NaN fails.
            if (visible ? !(bias[i] == 0) : !(bias[i] <= Masked))
                throw new ModelRewriteException($"token {past + token} has {bias[i]} for key {key}");
        }
    }
}
