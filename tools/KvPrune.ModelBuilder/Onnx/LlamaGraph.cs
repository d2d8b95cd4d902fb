using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>
/// Writes a Llama decoder as the graph that ONNX Runtime GenAI's own model builder makes: the same nodes, names, inputs and
/// outputs, so that whatever reads those folders reads these.
/// </summary>
internal sealed class LlamaGraph
{
    private const string CosCache = "cos_cache";
    private const string SinCache = "sin_cache";
    private const string MaskNodes = "/model/attn_mask_reformat/attn_mask_subgraph";
    private const string HeadName = "/lm_head/MatMul";

    private readonly GraphBuilder _graph = new();
    private readonly LlamaShape _shape;
    private readonly WeightPrecision _precision;
    private readonly IWeightSource _weights;
    private readonly ExternalDataWriter _data;
    private readonly IProgress<BuildProgress>? _progress;
    private readonly CancellationToken _cancellation;
    private readonly long _totalWeights;
    private readonly float[] _buffer;
    private long _writtenWeights;

    private LlamaGraph(
        LlamaShape shape,
        WeightPrecision precision,
        IWeightSource weights,
        ExternalDataWriter data,
        IProgress<BuildProgress>? progress,
        CancellationToken cancellation)
    {
        (_shape, _precision, _weights, _data, _progress, _cancellation) = (shape, precision, weights, data, progress, cancellation);
        var sizes = LlamaTensors.All(shape).Select(t => t.Shape.Aggregate(1L, (product, dimension) => product * dimension)).ToList();
        _totalWeights = sizes.Sum();
        // One buffer for all: an array per tensor would wait for a garbage collection that is in no hurry.
        _buffer = new float[sizes.Max()];
    }

    /// <summary>Writes model.onnx and model.onnx.data into the folder.</summary>
    public static void Write(
        string folder,
        LlamaShape shape,
        WeightPrecision precision,
        IWeightSource weights,
        IProgress<BuildProgress>? progress,
        CancellationToken cancellation)
    {
        var path = Path.Combine(folder, "model.onnx");
        using var data = new ExternalDataWriter(path + ".data", cancellation);
        var graph = new LlamaGraph(shape, precision, weights, data, progress, cancellation);
        graph.Build();
        graph._graph.Save(path);
    }

    private void Build()
    {
        InputsAndOutputs();
        Mask();
        RotaryTables();
        var stream = Embedding();
        string? branch = null;
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            (var normed, stream) = Norm(layer, "input", LlamaTensors.InputNorm(layer), stream, branch, last: false);
            branch = Attention(layer, normed);
            (normed, stream) = Norm(layer, "post_attention", LlamaTensors.PostAttentionNorm(layer), stream, branch, last: false);
            branch = FeedForward(layer, normed);
        }

        var (final, _) = Norm(_shape.Layers, "final_norm", LlamaTensors.FinalNorm, stream, branch, last: true);
        Head(final);
    }

    private void InputsAndOutputs()
    {
        _graph.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        _graph.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        _graph.Output("logits", DataType.Float, "batch_size", "sequence_length", _shape.Vocabulary);
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            foreach (var kind in (string[])["key", "value"])
            {
                _graph.Input(
                    $"past_key_values.{layer}.{kind}", DataType.Float, "batch_size", _shape.KvHeads, "past_sequence_length", _shape.HeadSize);
                _graph.Output(
                    $"present.{layer}.{kind}", DataType.Float, "batch_size", _shape.KvHeads, "total_sequence_length", _shape.HeadSize);
            }
        }
    }

    // seqlens_k = sum of each row of the mask − 1; total_sequence_length = width of the mask.
    private void Mask()
    {
        const string one = "/model/constants/INT64/[1]";
        const string index = "/model/constants/INT64/1";
        _graph.Constant(one, [1], 1);
        _graph.Constant(index, [1]);

        Simple("ReduceSum", $"{MaskNodes}/ReduceSum", ["attention_mask", one], DataType.Int64, ["batch_size"], ("keepdims", 0));
        Simple("Sub", $"{MaskNodes}/Sub", [$"{MaskNodes}/ReduceSum/output_0", one], DataType.Int64, ["batch_size"]);
        Simple(
            "Cast", $"{MaskNodes}/Sub/Cast", [$"{MaskNodes}/Sub/output_0"], DataType.Int32, ["batch_size"], ("to", (int)DataType.Int32));
        Simple("Shape", $"{MaskNodes}/Shape", ["attention_mask"], DataType.Int64, [2]);
        Simple("Gather", $"{MaskNodes}/Gather", [$"{MaskNodes}/Shape/output_0", index], DataType.Int64, [], ("axis", 0));
        Simple("Cast", $"{MaskNodes}/Gather/Cast", [$"{MaskNodes}/Gather/output_0"], DataType.Int32, [], ("to", (int)DataType.Int32));
    }

    // Angles in double: in fp32 an angle of 10⁵ would be off by 10⁻² before its cosine is taken.
    private void RotaryTables()
    {
        var pairs = _shape.HeadSize / 2;
        var frequencies = new double[pairs];
        for (var i = 0; i < pairs; i++)
            frequencies[i] = 1 / Math.Pow(_shape.RopeTheta, 2 * i / (double)_shape.HeadSize);

        var table = new float[(long)_shape.ContextLength * pairs];
        foreach (var (name, function) in ((string, Func<double, double>)[])[(CosCache, Math.Cos), (SinCache, Math.Sin)])
        {
            for (var position = 0; position < _shape.ContextLength; position++)
            {
                for (var i = 0; i < pairs; i++)
                    table[((long)position * pairs) + i] = (float)function(position * frequencies[i]);
            }

            _graph.Initializer(_data.Append<float>(name, DataType.Float, table, _shape.ContextLength, pairs));
        }
    }

    private string Embedding()
    {
        const string gather = "/model/embed_tokens/Gather";
        string table;
        if (SharesEmbedding)
        {
            // One stored copy, laid out for the output projection; the runtime folds the transposition when it loads the model.
            const string transpose = "/model/embed_tokens/Transpose";
            StoreTransposed(LlamaTensors.Embedding, WeightName(HeadName), _shape.Vocabulary, _shape.Hidden);
            table = Simple(
                "Transpose", transpose, [WeightName(HeadName)], DataType.Float, [_shape.Vocabulary, _shape.Hidden], ("perm", (int[])[1, 0]));
        }
        else
        {
            table = LlamaTensors.Embedding;
            var values = Read(LlamaTensors.Embedding, _shape.Vocabulary, _shape.Hidden);
            _graph.Initializer(_data.Append<float>(table, DataType.Float, values, _shape.Vocabulary, _shape.Hidden));
        }

        return Simple("Gather", gather, [table, "input_ids"], DataType.Float, Activation(_shape.Hidden));
    }

    private (string Normed, string Stream) Norm(int layer, string location, string tensor, string stream, string? branch, bool last)
    {
        var weight = $"model.layers.{layer}.{location}_layernorm.weight";
        var prefix = $"/model/layers.{layer}/{location}_layernorm";
        _graph.Initializer(_data.Append<float>(weight, DataType.Float, Read(tensor, _shape.Hidden), _shape.Hidden));
        _graph.Value($"{prefix}/output_0", DataType.Float, Activation(_shape.Hidden));
        if (branch is null)
        {
            _graph.Node(
                "SimplifiedLayerNormalization",
                $"{prefix}/LayerNorm",
                [stream, weight],
                [$"{prefix}/output_0"],
                "",
                ("epsilon", _shape.NormEpsilon), ("axis", -1), ("stash_type", 1));
            return ($"{prefix}/output_0", stream);
        }

        // Output 3 is the sum of both inputs: the residual stream.
        string[] outputs = last ? [$"{prefix}/output_0"] : [$"{prefix}/output_0", "", "", $"{prefix}/output_3"];
        if (!last)
            _graph.Value($"{prefix}/output_3", DataType.Float, Activation(_shape.Hidden));
        _graph.Node(
            "SkipSimplifiedLayerNormalization",
            $"{prefix}/SkipLayerNorm",
            [stream, branch, weight],
            outputs,
            GraphBuilder.MicrosoftDomain,
            ("epsilon", _shape.NormEpsilon));
        return ($"{prefix}/output_0", outputs[^1]);
    }

    private string Attention(int layer, string input)
    {
        var prefix = $"/model/layers.{layer}/attn";
        var queryWidth = _shape.QueryHeads * _shape.HeadSize;
        var kvWidth = _shape.KvHeads * _shape.HeadSize;
        var query = MatMul($"{prefix}/q_proj/MatMul", input, LlamaTensors.Linear(layer, "self_attn.q_proj"), queryWidth, _shape.Hidden);
        var key = MatMul($"{prefix}/k_proj/MatMul", input, LlamaTensors.Linear(layer, "self_attn.k_proj"), kvWidth, _shape.Hidden);
        var value = MatMul($"{prefix}/v_proj/MatMul", input, LlamaTensors.Linear(layer, "self_attn.v_proj"), kvWidth, _shape.Hidden);
        var attention = $"{prefix}/GroupQueryAttention";
        _graph.Value($"{attention}/output_0", DataType.Float, Activation(queryWidth));
        _graph.Node(
            "GroupQueryAttention",
            attention,
            [
                query, key, value, $"past_key_values.{layer}.key", $"past_key_values.{layer}.value",
                $"{MaskNodes}/Sub/Cast/output_0", $"{MaskNodes}/Gather/Cast/output_0", CosCache, SinCache,
            ],
            [$"{attention}/output_0", $"present.{layer}.key", $"present.{layer}.value"],
            GraphBuilder.MicrosoftDomain,
            ("num_heads", _shape.QueryHeads),
            ("kv_num_heads", _shape.KvHeads),
            ("scale", (float)(1 / Math.Sqrt(_shape.HeadSize))),
            ("local_window_size", -1),
            ("softcap", 0f),
            ("do_rotary", 1),
            ("rotary_interleaved", 0));
        return MatMul(
            $"{prefix}/o_proj/MatMul",
            $"{attention}/output_0",
            LlamaTensors.Linear(layer, "self_attn.o_proj"),
            _shape.Hidden,
            queryWidth);
    }

    private string FeedForward(int layer, string input)
    {
        var prefix = $"/model/layers.{layer}/mlp";
        var wide = Activation(_shape.Intermediate);
        string Linear(string module, string from, int rows, int columns) =>
            MatMul($"{prefix}/{module}/MatMul", from, LlamaTensors.Linear(layer, $"mlp.{module}"), rows, columns);

        var gate = Linear("gate_proj", input, _shape.Intermediate, _shape.Hidden);
        var up = Linear("up_proj", input, _shape.Intermediate, _shape.Hidden);
        var sigmoid = Simple("Sigmoid", $"{prefix}/act_fn/Sigmoid", [gate], DataType.Float, wide);
        var silu = Simple("Mul", $"{prefix}/act_fn/Mul", [gate, sigmoid], DataType.Float, wide);
        var gated = Simple("Mul", $"{prefix}/Mul", [silu, up], DataType.Float, wide);
        return Linear("down_proj", gated, _shape.Hidden, _shape.Intermediate);
    }

    private void Head(string input)
    {
        if (SharesEmbedding)
            _graph.Node("MatMul", HeadName, [input, WeightName(HeadName)], ["logits"]);
        else
        {
            var tensor = _shape.TiedEmbeddings ? LlamaTensors.Embedding : LlamaTensors.OutputHead;
            MatMul(HeadName, input, tensor, _shape.Vocabulary, _shape.Hidden, "logits");
        }
    }

    // In int4 the output projection is a quantized copy of its own.
    private bool SharesEmbedding => _shape.TiedEmbeddings && _precision == WeightPrecision.Fp32;

    private string MatMul(string name, string input, string tensor, int outputs, int inputs, string? graphOutput = null)
    {
        var output = graphOutput ?? $"{name}/output_0";
        if (graphOutput is null)
            _graph.Value(output, DataType.Float, Activation(outputs));
        if (_precision == WeightPrecision.Fp32)
        {
            StoreTransposed(tensor, WeightName(name), outputs, inputs);
            _graph.Node("MatMul", name, [input, WeightName(name)], [output]);
            return output;
        }

        var blocks = BlockQuantizer.BlocksPerRow(inputs);
        var (packed, scales) = BlockQuantizer.Quantize(Read(tensor, outputs, inputs), outputs, inputs);
        var (weight, scale) = ($"{WeightName(name)}_Q4", $"{WeightName(name)}_scales");
        _graph.Initializer(
            _data.Append<byte>(weight, DataType.Uint8, packed, outputs, blocks, BlockQuantizer.BlockSize / 2));
        _graph.Initializer(_data.Append<float>(scale, DataType.Float, scales, outputs, blocks));
        _graph.Node(
            "MatMulNBits",
            $"{name}_Q4",
            [input, weight, scale],
            [output],
            GraphBuilder.MicrosoftDomain,
            // Accuracy level 4, GenAI's choice for CPU: activations are rounded to int8 per block.
            ("accuracy_level", 4), ("bits", 4), ("block_size", BlockQuantizer.BlockSize), ("K", inputs), ("N", outputs));
        return output;
    }

    private string Simple(
        string opType, string name, string[] inputs, DataType type, Dimension[] shape, params ReadOnlySpan<(string Name, object Value)> attributes)
    {
        var output = $"{name}/output_0";
        _graph.Node(opType, name, inputs, [output], "", attributes);
        _graph.Value(output, type, shape);
        return output;
    }

    private void StoreTransposed(string tensor, string name, int rows, int columns) =>
        _graph.Initializer(_data.AppendTransposed(name, Read(tensor, rows, columns), rows, columns));

    // Valid until the next tensor is read.
    private ReadOnlySpan<float> Read(string tensor, params ReadOnlySpan<int> shape)
    {
        _cancellation.ThrowIfCancellationRequested();
        var length = 1;
        foreach (var dimension in shape)
            length *= dimension;
        var values = _buffer.AsSpan(0, length);
        _weights.Read(tensor, shape, values);
        _writtenWeights += values.Length;
        _progress?.Report(new BuildProgress(tensor, Math.Min(_writtenWeights, _totalWeights), _totalWeights));
        return values;
    }

    private static Dimension[] Activation(int width) => ["batch_size", "sequence_length", width];

    private static string WeightName(string node) => $"{node[1..].Replace('/', '.')}.weight";
}
