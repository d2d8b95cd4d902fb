using System.Collections.Concurrent;
using System.Reflection;
using System.Text.Json;
using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using KvPrune.OnnxOps.Tests.Ops;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>
/// What goes into the attention nodes of the bundled model and comes out of them while it reads text, from ONNX Runtime's own
/// operators.
/// </summary>
internal sealed class ModelTensors
{
    private static readonly Lazy<ModelTensors> LazyBundled = new(() => new ModelTensors());

    private readonly string _folder;
    private readonly string[] _outputs;
    private readonly InferenceSession _session;
    private readonly ConcurrentDictionary<(int Tokens, int From), Lazy<LayerRows>> _repeats = new();

    private ModelTensors()
    {
        var root = typeof(ModelTensors).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot");
        _folder = Path.Combine(root.Value!, "models", "tiny-retrieval-llama");
        var path = Path.Combine(_folder, "model.onnx");
        var projections = OutputProjections.Open(path);
        Grams = [.. Enumerable.Range(0, projections.Layers).Select(projections.Gram)];
        (_session, _outputs) = Open(ModelFile.Read(path));
        Text = ReadText();
        Shape = new AttentionShape(4, 2, 64, Rotary: true, Grams.Length) { LayerInputs = true };
        var tensors = Run(Text);
        var caches = AttentionShape.MaxTokens * Shape.RotarySize / 2;
        Shape = Shape with { Rotations = (tensors[^2][..caches], tensors[^1][..caches]) };
        Rows = RowsOf(tensors);
        Outputs = [.. tensors.SkipLast(2).Chunk(4).Select(layer => layer[3])];
    }

    /// <summary>The model that comes with the repository.</summary>
    public static ModelTensors Bundled => LazyBundled.Value;

    /// <summary>How its layers attend, with the model's own rotary caches.</summary>
    public AttentionShape Shape { get; }

    /// <summary>Of each layer's output projection.</summary>
    public float[][] Grams { get; }

    /// <summary>Tokens of a document with a question, and of conversations about another one.</summary>
    public int[] Text { get; }

    /// <summary>The rows of the text.</summary>
    public LayerRows Rows { get; }

    /// <summary>Each layer's attention output over the text, [tokens, query width].</summary>
    public float[][] Outputs { get; }

    /// <summary>The outputs of the first tokens.</summary>
    public float[][] OutputsOf(int tokens) => [.. Outputs.Select(output => output[..(tokens * Shape.QueryWidth)])];

    /// <summary>Rows while the model repeats up to 100 of the text's first <paramref name="tokens"/> after these.</summary>
    public LayerRows Repeat(int tokens, int from) => _repeats.GetOrAdd((tokens, from), _ => new(() =>
        RowsOf(Run([.. Text[..tokens], .. Text[from..Math.Min(tokens, from + 100)]]))[tokens..])).Value;

    // The prompts of the model's reference files, whose token ids come from the tokenizer that trained it.
    private int[] ReadText()
    {
        int[] Ids(JsonElement prompt) => [.. prompt.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32())];
        JsonElement Read(string file) => JsonElement.Parse(File.ReadAllBytes(Path.Combine(_folder, "reference", file)));
        var answers = Read("greedy_answers.json").GetProperty("samples").EnumerateArray();
        return [.. Ids(Read("reference_logits.json")), .. answers.Take(4).SelectMany(Ids)];
    }

    // The nodes' inputs and outputs and the rotary caches in place of logits and caches.
    private (InferenceSession Session, string[] Outputs) Open(ModelProto model)
    {
        NodeProto[] nodes = [.. model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention")];
        string[] outputs =
            [.. nodes.SelectMany(node => node.Input.Take(3).Append(node.Output[0])), .. nodes[0].Input.Skip(7).Take(2)];
        model.Graph.Output.Clear();
        model.Graph.Output.Add(outputs.Select(name =>
            new ValueInfoProto { Name = name, Type = new() { TensorType = new() { ElemType = (int)DataType.Float } } }));
        using var options = new SessionOptions { IntraOpNumThreads = 1 };
        options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", _folder);
        return (new InferenceSession(model.ToByteArray(), options), outputs);
    }

    private float[][] Run(int[] ids)
    {
        OrtValue Tensor<T>(T[] values, params long[] dims) where T : unmanaged => OrtValue.CreateTensorValueFromMemory(values, dims);
        var inputs = _session.InputNames.Where(name => name.StartsWith("past_key_values.", StringComparison.Ordinal))
            .ToDictionary(name => name, _ => Tensor(Array.Empty<float>(), 1, Shape.KvHeads, 0, Shape.HeadSize));
        inputs["input_ids"] = Tensor(Array.ConvertAll(ids, id => (long)id), 1, ids.Length);
        inputs["attention_mask"] = Tensor(Enumerable.Repeat(1L, ids.Length).ToArray(), 1, ids.Length);
        using var run = new RunOptions();
        using var values = _session.Run(run, inputs, _outputs);
        foreach (var input in inputs.Values)
            input.Dispose();
        return [.. values.Select(value => value.GetTensorDataAsSpan<float>().ToArray())];
    }

    private LayerRows RowsOf(float[][] tensors) => new(
    [
        .. tensors.SkipLast(2).Chunk(4).Select(
            layer => new TokenRows(Shape, layer[0].Length / Shape.QueryWidth, layer[0], layer[1], layer[2])),
    ]);
}
