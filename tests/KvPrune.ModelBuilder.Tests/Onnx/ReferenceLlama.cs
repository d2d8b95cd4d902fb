namespace KvPrune.ModelBuilder.Tests.Onnx;

/// <summary>
/// A Llama forward pass in double precision, written from the definition of the architecture and with nothing of the builder
/// but the weights: one token after the other over plain lists of keys and values.
/// </summary>
internal sealed class ReferenceLlama(LlamaShape shape, IWeightSource weights)
{
    private readonly Dictionary<string, double[]> _tensors = LlamaTensors.All(shape)
        .ToDictionary(t => t.Name, t => Array.ConvertAll(weights.Read(t.Name, t.Shape), v => (double)v));

    private readonly List<double[]>[] _keys = [.. Enumerable.Range(0, shape.Layers).Select(_ => new List<double[]>())];
    private readonly List<double[]>[] _values = [.. Enumerable.Range(0, shape.Layers).Select(_ => new List<double[]>())];

    /// <summary>Appends tokens and returns the logits after the last.</summary>
    public double[] Append(params int[] ids)
    {
        double[] stream = [];
        foreach (var id in ids)
        {
            stream = _tensors["model.embed_tokens.weight"][(id * shape.Hidden)..((id + 1) * shape.Hidden)];
            for (var layer = 0; layer < shape.Layers; layer++)
            {
                var prefix = $"model.layers.{layer}.";
                stream = Add(stream, Attention(layer, Norm(stream, prefix + "input_layernorm.weight")));
                stream = Add(stream, FeedForward(prefix, Norm(stream, prefix + "post_attention_layernorm.weight")));
            }
        }

        return Linear(Norm(stream, "model.norm.weight"), shape.TiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    }

    private double[] Attention(int layer, double[] input)
    {
        var prefix = $"model.layers.{layer}.self_attn.";
        var (size, group) = (shape.HeadSize, shape.QueryHeads / shape.KvHeads);
        var position = _keys[layer].Count;
        var query = Rotate(Linear(input, prefix + "q_proj.weight"), position);
        _keys[layer].Add(Rotate(Linear(input, prefix + "k_proj.weight"), position));
        _values[layer].Add(Linear(input, prefix + "v_proj.weight"));

        var output = new double[shape.QueryHeads * size];
        for (var head = 0; head < shape.QueryHeads; head++)
        {
            var kv = head / group * size;
            var scores = _keys[layer].Select(key => Enumerable.Range(0, size).Sum(i => query[(head * size) + i] * key[kv + i])).ToArray();
            var exponentials = scores.Select(s => Math.Exp((s - scores.Max()) / Math.Sqrt(size))).ToArray();
            for (var token = 0; token < scores.Length; token++)
            {
                for (var i = 0; i < size; i++)
                    output[(head * size) + i] += exponentials[token] / exponentials.Sum() * _values[layer][token][kv + i];
            }
        }

        return Linear(output, prefix + "o_proj.weight");
    }

    private double[] FeedForward(string prefix, double[] input)
    {
        var gate = Linear(input, prefix + "mlp.gate_proj.weight");
        var up = Linear(input, prefix + "mlp.up_proj.weight");
        return Linear([.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)], prefix + "mlp.down_proj.weight");
    }

    // Element i of a head turns with element i + size/2 by position · θ^(−2i/size).
    private double[] Rotate(double[] heads, int position)
    {
        var half = shape.HeadSize / 2;
        var turned = new double[heads.Length];
        for (var start = 0; start < heads.Length; start += shape.HeadSize)
        {
            for (var i = 0; i < half; i++)
            {
                var (sin, cos) = Math.SinCos(position * Math.Pow(shape.RopeTheta, -2.0 * i / shape.HeadSize));
                var (a, b) = (heads[start + i], heads[start + i + half]);
                turned[start + i] = (a * cos) - (b * sin);
                turned[start + i + half] = (b * cos) + (a * sin);
            }
        }

        return turned;
    }

    private double[] Norm(double[] input, string name)
    {
        var scale = 1 / Math.Sqrt(input.Average(x => x * x) + shape.NormEpsilon);
        return [.. input.Zip(_tensors[name], (x, w) => x * scale * w)];
    }

    private double[] Linear(double[] input, string name)
    {
        var weight = _tensors[name];
        var output = new double[weight.Length / input.Length];
        for (var row = 0; row < output.Length; row++)
        {
            for (var i = 0; i < input.Length; i++)
                output[row] += weight[(row * input.Length) + i] * input[i];
        }

        return output;
    }

    private static double[] Add(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];
}
