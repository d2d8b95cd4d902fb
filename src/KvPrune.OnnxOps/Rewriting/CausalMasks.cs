using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Finds out whether a value is the additive causal mask [batch, heads, S, T] over a graph's attention mask: what makes
/// it may read the attention mask's elements and the shapes of other inputs, and gives what a causal mask is when run.
/// </summary>
internal sealed class CausalMasks(ModelProto model, GraphIndex index)
{
    // Masked logits of at most this are as good as -infinity.
    private const float Masked = -1e4f;

    // A mask that ends at a window shows in the longest past.
    private static readonly (int Batch, int Tokens, int Past)[] Sizes =
        [(1, 1, 0), (1, 5, 0), (2, 7, 0), (1, 150, 0), (1, 1, 9), (2, 1, 40), (1, 1, 70_000)];

    private readonly Dictionary<string, string> _known = [];
    private readonly Dictionary<string, TensorProto> _initializers =
        model.Graph.Initializer.GroupBy(tensor => tensor.Name).ToDictionary(group => group.Key, group => group.First());

    /// <summary>The attention mask, an int64 graph input [batch, T], from which <paramref name="bias"/> is made.</summary>
    /// <exception cref="ModelRewriteException">It is not the causal mask, or not known to be; says why.</exception>
    public string FindAttentionMask(string bias)
    {
        if (_known.TryGetValue(bias, out var known))
            return known;
        var (graph, mask) = Extract(bias);
        try
        {
            using var session = CreateSession(graph, bias);
            foreach (var (batch, tokens, past) in Sizes)
                Check(session, mask, batch, tokens, past);
        }
        catch (OnnxRuntimeException e)
        {
            throw new ModelRewriteException($"it cannot be computed by itself: {e.Message}", e);
        }

        return _known[bias] = mask;
    }

    // The part of the graph that makes the value, and the one input of which it reads elements.
    private (GraphProto Part, string Mask) Extract(string bias)
    {
        var part = new GraphProto { Name = "mask" };
        var nodes = new HashSet<NodeProto>(ReferenceEqualityComparer.Instance);
        var inputs = new HashSet<string>();
        var elements = new HashSet<string>();
        var open = new Stack<string>([bias]);
        var seen = new HashSet<string>();
        while (open.TryPop(out var value))
        {
            if (!seen.Add(value))
                continue;
            if (_initializers.TryGetValue(value, out var tensor))
            {
                if (tensor.DataLocation == DataLocation.External)
                    throw new ModelRewriteException($"it depends on the external tensor '{value}'");
                part.Initializer.Add(tensor);
            }
            else if (index.Inputs.Contains(value))
            {
                inputs.Add(value);
            }
            else if (index.Producer(value) is { } node)
            {
                if (node.Subgraphs().Any())
                    throw new ModelRewriteException($"it depends on {node.Label()}");
                nodes.Add(node);
                foreach (var read in node.Input.Where(input => input.Length > 0))
                {
                    open.Push(read);
                    if (index.Inputs.Contains(read) && !_initializers.ContainsKey(read) && !node.IsStandard("Shape"))
                        elements.Add(read);
                }
            }
            else
            {
                throw new ModelRewriteException($"nothing makes '{value}'");
            }
        }

        if (elements.Count != 1)
            throw new ModelRewriteException($"it reads the elements of {elements.Count} inputs of the graph, not of one");
        foreach (var input in inputs)
            part.Input.Add(new ValueInfoProto { Name = input, Type = new TypeProto { TensorType = InputType(input) } });
        part.Node.Add(model.Graph.Node.Where(nodes.Contains));
        return (part, elements.Single());
    }

    private TypeProto.Types.Tensor InputType(string input)
    {
        if (index.TensorType(input) is not { Shape: not null } type)
            throw new ModelRewriteException($"input '{input}' declares no shape");
        var isIds = type.Shape.Dim.Count == 2 && type.ElemType == (int)DataType.Int64;
        var isPast = type.Shape.Dim.Count == 4 && type.Shape.Dim[1].DimValue > 0 && type.Shape.Dim[3].DimValue > 0;
        if (!isIds && !isPast)
            throw new ModelRewriteException($"input '{input}' is neither int64 [batch, tokens] nor a cache [batch, heads, past, channels]");
        // Elements of a cache are not read, so they may be of one type.
        var shape = new TensorShapeProto();
        shape.Dim.Add(type.Shape.Dim.Select((dim, i) => isPast && i == 1 ? dim : new() { DimParam = $"{input}/{i}" }));
        return new() { ElemType = (int)(isIds ? DataType.Int64 : DataType.Float), Shape = shape };
    }

    private InferenceSession CreateSession(GraphProto part, string bias)
    {
        const string output = "kvprune/mask";
        var cast = new NodeProto { Name = output, OpType = "Cast", Input = { bias }, Output = { output } };
        cast.Attribute.Add(PrunedAttention.Int("to", (long)DataType.Float));
        part.Node.Add(cast);
        part.Output.Add(new ValueInfoProto
        {
            Name = output,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float } },
        });
        var single = new ModelProto { IrVersion = model.IrVersion, Graph = part };
        single.OpsetImport.Add(model.OpsetImport);
        using var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL, IntraOpNumThreads = 1 };
        return new InferenceSession(single.ToByteArray(), options);
    }

    // Row r of the batch has r padding tokens at its end, which a host marks in the attention mask.
    private static void Check(InferenceSession session, string mask, int batch, int tokens, int past)
    {
        var total = past + tokens;
        var valid = new long[batch * total];
        for (var i = 0; i < valid.Length; i++)
            valid[i] = i % total < total - (i / total) ? 1 : 0;
        var values = session.InputMetadata.ToDictionary(input => input.Key, input =>
            input.Key == mask ? OrtValue.CreateTensorValueFromMemory(valid, [batch, total])
            : input.Value.ElementDataType == Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Int64
                ? OrtValue.CreateTensorValueFromMemory(new long[batch * tokens], [batch, tokens])
            // Without channels a past of any length is free.
            : OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), [batch, input.Value.Dimensions[1], past, 0]));
        using var options = new RunOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        try
        {
            using var outputs = session.Run(options, values, session.OutputNames);
            Compare(outputs[0].GetTensorTypeAndShape().Shape, outputs[0].GetTensorDataAsSpan<float>(), batch, tokens, past);
        }
        finally
        {
            foreach (var value in values.Values)
                value.Dispose();
        }
    }

    private static void Compare(long[] shape, ReadOnlySpan<float> bias, int batch, int tokens, int past)
    {
        var total = past + tokens;
        if (shape.Length != 4 || (shape[0] != batch && shape[0] != 1) || shape[2] != tokens || shape[3] != total)
            throw new ModelRewriteException($"its shape is [{string.Join(", ", shape)}] for {batch} rows of {tokens} tokens after {past}");
        for (var i = 0; i < bias.Length; i++)
        {
            var (row, token, key) = (i / (int)(shape[1] * shape[2] * shape[3]), i / total % tokens, i % total);
            if (past + token >= total - row)
                continue; // a padding token's own row is anything
            var visible = key <= past + token;
            // Written so that NaN fails.
            if (visible ? !(bias[i] == 0) : !(bias[i] <= Masked))
                throw new ModelRewriteException($"token {past + token} has {bias[i]} for key {key}");
        }
    }
}
