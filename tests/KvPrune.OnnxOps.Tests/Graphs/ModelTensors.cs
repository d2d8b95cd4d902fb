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

    private readonly ModelProto _model;
    private readonly string _folder;
    private readonly NodeProto[] _nodes;

    private ModelTensors()
    {
        var root = typeof(ModelTensors).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;
        _folder = Path.Combine(root, "models", "tiny-retrieval-llama");
        var path = Path.Combine(_folder, "model.onnx");
        _model = ModelFile.Read(path);
        _nodes = [.. _model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention")];
        var projections = OutputProjections.Open(path);
        Grams = [.. Enumerable.Range(0, projections.Layers).Select(projections.Gram)];
        Declare();
        Text = ReadText();
        Shape = new AttentionShape(4, 2, 64, Rotary: true, _nodes.Length) { LayerInputs = true };
        (Rows, Outputs, Shape) = Run(Text, withCaches: true);
    }

    /// <summary>The model that comes with the repository.</summary>
    public static ModelTensors Bundled => LazyBundled.Value;

    /// <summary>How its layers attend, with the model's own rotary caches.</summary>
    public AttentionShape Shape { get; }

    /// <summary>Of each layer's output projection.</summary>
    public float[][] Grams { get; }

    /// <summary>Tokens of a document, a question, and conversations about another document.</summary>
    public int[] Text { get; }

    /// <summary>The rows of the text.</summary>
    public LayerRows Rows { get; }

    /// <summary>Each layer's attention output over the text, [tokens, query width].</summary>
    public float[][] Outputs { get; }

    /// <summary>The rows of the text's first tokens when the model goes on with others.</summary>
    public LayerRows After(int tokens, int[] others) => Run([.. Text[..tokens], .. others], withCaches: false).Rows[tokens..];

    // The prompts of the model's reference files, whose token ids come from the tokenizer that trained it.
    private int[] ReadText()
    {
        int[] Ids(JsonElement prompt) => [.. prompt.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32())];
        JsonElement Read(string file) => JsonElement.Parse(File.ReadAllBytes(Path.Combine(_folder, "reference", file)));
        var answers = Read("greedy_answers.json").GetProperty("samples").EnumerateArray();
        return [.. Ids(Read("reference_logits.json")), .. answers.Take(4).SelectMany(Ids)];
    }

    // The nodes' inputs and outputs and the rotary caches in place of logits and caches.
    private void Declare()
    {
        _model.Graph.Output.Clear();
        foreach (var name in _nodes.SelectMany(Tensors).Concat(_nodes[0].Input.Skip(7).Take(2)))
            _model.Graph.Output.Add(new ValueInfoProto { Name = name, Type = new() { TensorType = new() { ElemType = (int)DataType.Float } } });
    }

    private static string[] Tensors(NodeProto node) => [.. node.Input.Take(3), node.Output[0]];

    private (LayerRows Rows, float[][] Outputs, AttentionShape Shape) Run(int[] ids, bool withCaches)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1 };
        options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", _folder);
        using var session = new InferenceSession(_model.ToByteArray(), options);
        var inputs = session.InputMetadata.Where(input => input.Key.StartsWith("past_key_values.", StringComparison.Ordinal)).ToDictionary(
            input => input.Key, _ => OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), [1, Shape.KvHeads, 0, Shape.HeadSize]));
        inputs["input_ids"] = OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(ids, id => (long)id), [1, ids.Length]);
        inputs["attention_mask"] = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, ids.Length).ToArray(), [1, ids.Length]);
        using var run = new RunOptions();
        using var values = session.Run(run, inputs, [.. _model.Graph.Output.Select(output => output.Name)]);
        foreach (var input in inputs.Values)
            input.Dispose();
        float[][] tensors = [.. values.Select(value => value.GetTensorDataAsSpan<float>().ToArray())];
        var shape = Shape;
        if (withCaches)
        {
            var size = AttentionShape.MaxTokens * shape.RotarySize / 2;
            shape = shape with { Rotations = (tensors[^2][..size], tensors[^1][..size]) };
        }

        float[][][] layers = [.. tensors.SkipLast(2).Chunk(4)];
        return (new([.. layers.Select(layer => new TokenRows(shape, ids.Length, layer[0], layer[1], layer[2]))]), [.. layers.Select(layer => layer[3])], shape);
    }
}
