using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>
/// Writes a decoder as the graph that ONNX Runtime GenAI's own model builder makes: the same nodes, names, inputs and outputs, so
/// that whatever reads those folders reads these.
/// </summary>
internal sealed class DecoderGraph
{
    private const string HeadName = "/lm_head/MatMul";

    private readonly GraphBuilder _graph;
    private readonly NodeWriter _nodes;
    private readonly ModelShape _shape;

    private DecoderGraph(NodeWriter nodes) => (_graph, _nodes, _shape) = (nodes.Graph, nodes, nodes.Shape);

    /// <summary>Writes model.onnx.data, going on from what the journal has, and model.onnx into the folder.</summary>
    public static void Write(
        string folder,
        ModelShape shape,
        BuildOptions options,
        IWeightSource weights,
        BuildJournal journal,
        WriteLimits limits,
        IProgress<BuildProgress>? progress,
        CancellationToken cancellation)
    {
        var path = Path.Combine(folder, "model.onnx");
        using var data = new ExternalDataWriter(path + ".data", journal, limits.CheckpointBytes);
        var total = ModelTensors.All(shape).Sum(t => t.Shape.Aggregate(1L, (product, dimension) => product * dimension));
        // The embedding and its quantized copy for the output projection.
        if (shape.TiedEmbeddings && options.IsInt4)
            total += (long)shape.Vocabulary * shape.Hidden;
        var graph = new GraphBuilder();
        var tensors = new TensorWriter(weights, data, limits.BlockElements, total, progress, cancellation);
        new DecoderGraph(new NodeWriter(graph, tensors, shape, options)).Build();
        graph.Save(path);
    }

    private void Build()
    {
        InputsAndOutputs();
        var totalLength = _nodes.Options.Attention == AttentionLayout.MultiHead ? MultiHeadMask.Write(_nodes) : GroupQueryMask.Write(_nodes);
        RotaryCaches.Write(_nodes, totalLength);
        var attention = new AttentionNodes(_nodes);
        var norms = new NormNodes(_nodes, Embedding());
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            string Place(string norm) => $"layers.{layer}.{norm}";
            string Tensor(string norm) => ModelTensors.Norm(layer, $"{norm}_layernorm");

            var attended = attention.Write(layer, norms.Stream(Place("input"), Tensor("input")));
            if (_shape.IsGemma)
            {
                norms.AddNormed(Place("post_attention"), Tensor("post_attention"), attended);
                var fed = FeedForward(layer, norms.Stream(Place("pre_feedforward"), Tensor("pre_feedforward")));
                norms.AddNormed(Place("post_feedforward"), Tensor("post_feedforward"), fed);
            }
            else
            {
                norms.Add(attended);
                norms.Add(FeedForward(layer, norms.Stream(Place("post_attention"), Tensor("post_attention"))));
            }
        }

        Head(norms.Stream($"layers.{_shape.Layers}.final_norm", ModelTensors.FinalNorm, last: true));
    }

    private void InputsAndOutputs()
    {
        _graph.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        _graph.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        if (_nodes.Options.RotaryOutside)
            _graph.Input("position_ids", DataType.Int64, "batch_size", "sequence_length");
        _graph.Output("logits", _nodes.Float, "batch_size", "sequence_length", _shape.Vocabulary);
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            foreach (var kind in (string[])["key", "value"])
            {
                _graph.Input(
                    $"past_key_values.{layer}.{kind}", _nodes.Float, "batch_size", _shape.KvHeads, "past_sequence_length", _shape.HeadSize);
                _graph.Output(
                    $"present.{layer}.{kind}", _nodes.Float, "batch_size", _shape.KvHeads, "total_sequence_length", _shape.HeadSize);
            }
        }
    }

    private string Embedding()
    {
        string table;
        if (SharesEmbedding)
        {
            // One stored copy, laid out for the output projection; the runtime folds the transposition when it loads the model.
            _graph.Initializer(_nodes.Tensors.Transposed(NodeWriter.WeightName(HeadName), _nodes.Float, [Table(ModelTensors.Embedding)]));
            table = _nodes.Node(
                "Transpose",
                "/model/embed_tokens/Transpose",
                [NodeWriter.WeightName(HeadName)],
                _nodes.Float,
                [_shape.Vocabulary, _shape.Hidden],
                ("perm", (int[])[1, 0]));
        }
        else
        {
            table = ModelTensors.Embedding;
            _graph.Initializer(_nodes.Tensors.AsIs(table, _nodes.Float, [Table(ModelTensors.Embedding)]));
        }

        var width = NodeWriter.Activation(_shape.Hidden);
        var output = _nodes.Node("Gather", "/model/embed_tokens/Gather", [table, "input_ids"], _nodes.Float, width);
        if (!_shape.IsGemma)
            return output;
        output = _nodes.Node("Mul", "/model/embed_tokens/Mul", [output, _nodes.Number(Math.Sqrt(_shape.Hidden))], _nodes.Float, width);
        return _nodes.Float == DataType.Float ? output : _nodes.Cast("/model/embed_tokens/Cast", output, DataType.Float, width);
    }

    private string FeedForward(int layer, string input)
    {
        var prefix = $"/model/layers.{layer}/mlp";
        var wide = NodeWriter.Activation(_shape.Intermediate);
        string Linear(string module, string from) =>
            _nodes.MatMul($"{prefix}/{module}/MatMul", from, [ModelTensors.Linear(_shape, layer, module)]);

        var gate = Linear("gate_proj", input);
        var up = Linear("up_proj", input);
        string activated;
        if (_shape.IsGemma)
            activated = _nodes.Node("Gelu", $"{prefix}/act_fn/FastGelu", [gate], _nodes.Float, wide, ("approximate", "tanh"));
        else
        {
            var sigmoid = _nodes.Node("Sigmoid", $"{prefix}/act_fn/Sigmoid", [gate], _nodes.Float, wide);
            activated = _nodes.Node("Mul", $"{prefix}/act_fn/Mul", [gate, sigmoid], _nodes.Float, wide);
        }

        return Linear("down_proj", _nodes.Node("Mul", $"{prefix}/Mul", [activated, up], _nodes.Float, wide));
    }

    private void Head(string input)
    {
        var output = _shape.LogitSoftcap is null ? "logits" : $"{HeadName}/output_0";
        if (SharesEmbedding)
            _graph.Node("MatMul", HeadName, [input, NodeWriter.WeightName(HeadName)], [output]);
        else
            _nodes.MatMul(HeadName, input, [Table(_shape.TiedEmbeddings ? ModelTensors.Embedding : ModelTensors.OutputHead)], output);
        if (_shape.LogitSoftcap is not { } cap)
            return;
        var width = NodeWriter.Activation(_shape.Vocabulary);
        var divided = _nodes.Node("Div", "/lm_head/softcap/Div", [output, _nodes.Number(cap)], _nodes.Float, width);
        var bent = _nodes.Node("Tanh", "/lm_head/softcap/Tanh", [divided], _nodes.Float, width);
        _graph.Node("Mul", "/lm_head/softcap/Mul", [bent, _nodes.Number(cap)], ["logits"]);
    }

    // In 4 bits the output projection is a quantized copy of its own.
    private bool SharesEmbedding => _shape.TiedEmbeddings && !_nodes.Options.IsInt4;

    private TensorRows Table(string tensor) => new(tensor, [_shape.Vocabulary, _shape.Hidden], 0, _shape.Vocabulary);
}
