namespace KvPrune.ModelBuilder.Tests.Onnx;

/// <summary>
/// The forward passes of all architectures in double precision, written from their definitions and with nothing of the builder
/// but the weights: one token after the other over plain lists of keys and values.
/// </summary>
internal sealed class ReferenceDecoder(ModelShape shape, IWeightSource weights)
{
    private readonly Dictionary<string, double[]> _tensors = ModelTensors.All(shape)
        .ToDictionary(t => t.Name, t => Array.ConvertAll(weights.Read(t.Name, t.Shape), v => (double)v));

    private readonly List<double[]>[] _keys = [.. Enumerable.Range(0, shape.Layers).Select(_ => new List<double[]>())];
    private readonly List<double[]>[] _values = [.. Enumerable.Range(0, shape.Layers).Select(_ => new List<double[]>())];
    private int _total;

    private bool Gemma => shape.Architecture == Architecture.Gemma2;

    /// <summary>Appends tokens and returns the logits after the last.</summary>
    public double[] Append(params int[] ids)
    {
        _total += ids.Length;
        double[] stream = [];
        foreach (var id in ids)
        {
            stream = _tensors["model.embed_tokens.weight"][(id * shape.Hidden)..((id + 1) * shape.Hidden)];
            if (Gemma)
                stream = [.. stream.Select(x => x * Math.Sqrt(shape.Hidden))];
            for (var layer = 0; layer < shape.Layers; layer++)
            {
                var prefix = $"model.layers.{layer}.";
                var attended = Attention(layer, Norm(stream, prefix + "input_layernorm.weight"));
                if (Gemma)
                {
                    stream = Add(stream, Norm(attended, prefix + "post_attention_layernorm.weight"));
                    var fed = FeedForward(prefix, Norm(stream, prefix + "pre_feedforward_layernorm.weight"));
                    stream = Add(stream, Norm(fed, prefix + "post_feedforward_layernorm.weight"));
                }
                else
                {
                    stream = Add(stream, attended);
                    stream = Add(stream, FeedForward(prefix, Norm(stream, prefix + "post_attention_layernorm.weight")));
                }
            }
        }

        var logits = Linear(Norm(stream, "model.norm.weight"), shape.TiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");
        return shape.LogitSoftcap is { } cap ? [.. logits.Select(x => cap * Math.Tanh(x / cap))] : logits;
    }

    private double[] Attention(int layer, double[] input)
    {
        var prefix = $"model.layers.{layer}.self_attn.";
        var (size, group) = (shape.HeadSize, shape.QueryHeads / shape.KvHeads);
        var position = _keys[layer].Count;
        var (query, key, value) = Project(prefix, input);
        query = Rotate(query, position);
        _keys[layer].Add(Rotate(key, position));
        _values[layer].Add(value);

        var slides = shape.SlidingWindow is not null
            && (shape.SlidingLayers is { } layers ? layers.Contains(layer) : !Gemma || layer % 2 == 0);
        var first = slides ? Math.Max(0, position + 1 - shape.SlidingWindow!.Value) : 0;
        var output = new double[shape.QueryHeads * size];
        for (var head = 0; head < shape.QueryHeads; head++)
        {
            var kv = head / group * size;
            var scores = _keys[layer].Skip(first)
                .Select(k => Enumerable.Range(0, size).Sum(i => query[(head * size) + i] * k[kv + i]) / Math.Sqrt(shape.QueryScalar ?? size));
            if (shape.AttentionSoftcap is { } cap)
                scores = scores.Select(s => cap * Math.Tanh(s / cap));
            double[] raw = [.. scores];
            var exponentials = raw.Select(s => Math.Exp(s - raw.Max())).ToArray();
            for (var token = 0; token < raw.Length; token++)
            {
                for (var i = 0; i < size; i++)
                    output[(head * size) + i] += exponentials[token] / exponentials.Sum() * _values[layer][first + token][kv + i];
            }
        }

        return Linear(output, prefix + "o_proj.weight");
    }

    private (double[] Query, double[] Key, double[] Value) Project(string prefix, double[] input)
    {
        var (wide, narrow) = (shape.QueryHeads * shape.HeadSize, shape.KvHeads * shape.HeadSize);
        if (shape.Architecture == Architecture.Phi3)
        {
            var fused = Linear(input, prefix + "qkv_proj.weight");
            return (fused[..wide], fused[wide..(wide + narrow)], fused[(wide + narrow)..]);
        }

        double[][] parts = [.. ((string[])["q_proj", "k_proj", "v_proj"]).Select(module =>
        {
            var product = Linear(input, $"{prefix}{module}.weight");
            return shape.Architecture == Architecture.Qwen2 ? Add(product, _tensors[$"{prefix}{module}.bias"]) : product;
        })];
        if (shape.Architecture == Architecture.Qwen3)
        {
            parts[0] = [.. parts[0].Chunk(shape.HeadSize).SelectMany(head => Norm(head, prefix + "q_norm.weight"))];
            parts[1] = [.. parts[1].Chunk(shape.HeadSize).SelectMany(head => Norm(head, prefix + "k_norm.weight"))];
        }

        return (parts[0], parts[1], parts[2]);
    }

    private double[] FeedForward(string prefix, double[] input)
    {
        double[] gate, up;
        if (shape.Architecture == Architecture.Phi3)
        {
            var fused = Linear(input, prefix + "mlp.gate_up_proj.weight");
            (gate, up) = (fused[..shape.Intermediate], fused[shape.Intermediate..]);
        }
        else
        {
            gate = Linear(input, prefix + "mlp.gate_proj.weight");
            up = Linear(input, prefix + "mlp.up_proj.weight");
        }

        Func<double, double> activation = Gemma
            ? x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))))
            : x => x / (1 + Math.Exp(-x));
        return Linear([.. gate.Zip(up, (g, u) => activation(g) * u)], prefix + "mlp.down_proj.weight");
    }

    // Element i of a head turns with element i + R/2 by position times a frequency, R the rotated part; the rest of the head stays.
    private double[] Rotate(double[] heads, int position)
    {
        var rotated = (int)(shape.HeadSize * shape.PartialRotaryFactor);
        var half = rotated / 2;
        double[] turned = [.. heads];
        for (var start = 0; start < heads.Length; start += shape.HeadSize)
        {
            for (var i = 0; i < half; i++)
            {
                var (frequency, magnitude) = Frequency(i, Math.Pow(shape.RopeTheta, -2.0 * i / rotated));
                var (sin, cos) = Math.SinCos(position * frequency);
                var (a, b) = (heads[start + i], heads[start + i + half]);
                turned[start + i] = ((a * cos) - (b * sin)) * magnitude;
                turned[start + i + half] = ((b * cos) + (a * sin)) * magnitude;
            }
        }

        return turned;
    }

    private (double Frequency, double Magnitude) Frequency(int pair, double plain)
    {
        switch (shape.RopeScaling)
        {
            case LinearRopeScaling linear:
                return (plain / linear.Factor, 1);
            case Llama3RopeScaling llama:
                var wavelength = 2 * Math.PI / plain;
                if (wavelength < llama.OriginalContext / llama.HighFrequencyFactor)
                    return (plain, 1);
                if (wavelength > llama.OriginalContext / llama.LowFrequencyFactor)
                    return (plain / llama.Factor, 1);
                var smooth = ((llama.OriginalContext / wavelength) - llama.LowFrequencyFactor)
                    / (llama.HighFrequencyFactor - llama.LowFrequencyFactor);
                return (((1 - smooth) * plain / llama.Factor) + (smooth * plain), 1);
            // The length of the whole run decides for all of its tokens; what was cached before stays as it was turned.
            case LongRopeScaling rope:
                var past = _total > rope.OriginalContext;
                var growth = (double)shape.ContextLength / rope.OriginalContext;
                var magnitude = Math.Sqrt(1 + (Math.Log(growth) / Math.Log(rope.OriginalContext)));
                return (plain / (past ? rope.LongFactors : rope.ShortFactors)[pair], (past ? rope.LongMagnitude : rope.ShortMagnitude) ?? magnitude);
            default:
                return (plain, 1);
        }
    }

    private double[] Norm(double[] input, string name)
    {
        var scale = 1 / Math.Sqrt(input.Average(x => x * x) + shape.NormEpsilon);
        return [.. input.Zip(_tensors[name], (x, w) => x * scale * (Gemma ? 1 + w : w))];
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
