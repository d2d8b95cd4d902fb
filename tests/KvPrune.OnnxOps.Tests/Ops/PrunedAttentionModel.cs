using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>An <see cref="AttentionGraph"/> after the rewrite, in a session, with its cache manager.</summary>
internal sealed class PrunedAttentionModel : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _runOptions = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };

    /// <param name="shape">The graph before the rewrite.</param>
    /// <param name="byteLimit">The cache manager's.</param>
    /// <param name="change">What to change of each rewritten node.</param>
    public PrunedAttentionModel(AttentionShape shape, long? byteLimit = null, Action<NodeProto>? change = null)
    {
        Shape = shape;
        var rewriter = ModelFolder.Load(AttentionGraph.Build(shape));
        Manager = new KvCacheManager(rewriter.Shape(AttentionShape.MaxTokens), byteLimit);
        var model = ModelProto.Parser.ParseFrom(rewriter.Rewrite(Manager.Id, LogitsPositions.All));
        foreach (var node in model.Graph.Node.Where(node => node.OpType == "PrunedGroupQueryAttention"))
            change?.Invoke(node);
        _session = Sessions.Create(model.ToByteArray());
    }

    public AttentionShape Shape { get; }

    public KvCacheManager Manager { get; }

    /// <summary>One committed step of one sequence; the first layer's output, [tokens, query width].</summary>
    public float[] Step(KvSequence sequence, TokenRows rows)
    {
        using var step = KvStep.Begin(sequence, rows.Count);
        var output = Run([sequence.Handle], [(int)sequence.Length + rows.Count - 1], rows)[0];
        step.Commit();
        return output;
    }

    /// <summary>A whole segment in one step, or in chunks of the given lengths.</summary>
    public float[] Prompt(KvSequence sequence, TokenRows rows, params int[] chunks)
    {
        sequence.OpenSegment(rows.Count);
        var output = new List<float>();
        var done = 0;
        foreach (var chunk in chunks.Length == 0 ? [rows.Count] : chunks)
        {
            output.AddRange(Step(sequence, rows[done..(done + chunk)]));
            done += chunk;
        }

        return [.. output];
    }

    /// <summary>Token after token; the outputs one after the other.</summary>
    public float[] Decode(KvSequence sequence, TokenRows rows) =>
        [.. Enumerable.Range(0, rows.Count).SelectMany(i => Step(sequence, rows[i..(i + 1)]))];

    /// <summary>
    /// The bare run, without begin and commit: rows hold the batch's rows one after the other, all of the same length.
    /// One output per layer.
    /// </summary>
    public float[][] Run(long[] handles, int[] seqlensK, TokenRows rows, int? totalLength = null, int? batchSize = null) =>
        Run(handles, seqlensK, totalLength ?? seqlensK.Max() + 1, rows.Inputs(batchSize ?? handles.Length));

    /// <summary>The same for one sequence whose layers may have rows of their own.</summary>
    public float[][] Run(KvSequence sequence, LayerRows rows)
    {
        var last = (int)sequence.Length + rows.Count - 1;
        return Run([sequence.Handle], [last], last + 1, rows.Inputs());
    }

    private float[][] Run(long[] handles, int[] seqlensK, int totalLength, Dictionary<string, OrtValue> inputs)
    {
        using var lengths = OrtValue.CreateTensorValueFromMemory(seqlensK, [seqlensK.Length]);
        using var total = OrtValue.CreateTensorValueFromMemory(new[] { totalLength }, [1]);
        using var sequences = OrtValue.CreateTensorValueFromMemory(handles, [handles.Length]);
        inputs["seqlens_k"] = lengths;
        inputs["total_sequence_length"] = total;
        inputs[KvPruneOps.SequenceHandlesInput] = sequences;
        string[] names = [.. Enumerable.Range(0, Shape.Layers).Select(layer => $"output.{layer}")];
        try
        {
            using var outputs = _session.Run(_runOptions, inputs, names);
            return [.. outputs.Select(output => output.GetTensorDataAsSpan<float>().ToArray())];
        }
        finally
        {
            foreach (var input in inputs.Values)
                input.Dispose();
        }
    }

    public (float[] Keys, float[] Values) ReadRows(KvSequence sequence, int kvHead, int layer = 0)
    {
        var keys = new float[sequence.Length * Shape.HeadSize];
        var values = new float[keys.Length];
        sequence.ReadRows(layer, kvHead, keys, values);
        return (keys, values);
    }

    public void Dispose()
    {
        _session.Dispose();
        _runOptions.Dispose();
        Manager.Dispose();
    }
}
