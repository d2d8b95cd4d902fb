using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>One layer's attention over one sequence under a policy, in double precision and written for clarity.</summary>
internal sealed class ReferenceSequence
{
    private readonly AttentionShape _shape;
    private readonly PruningPolicy _policy;
    private readonly ReferenceHead[] _heads;
    private readonly (float[] Cosine, float[] Sine) _rotary;
    private readonly double[] _sinks;
    private readonly int _layer;
    private int _length;
    private int _turns;

    /// <param name="shape">How the layer attends.</param>
    /// <param name="policy">What is kept.</param>
    /// <param name="layer">The layer, where the policy has sparsities or the model windows for each.</param>
    /// <param name="grams">Of the output projection, [KV heads, channels, channels]; null where the policy does without.</param>
    public ReferenceSequence(AttentionShape shape, PruningPolicy policy, int layer = 0, float[]? grams = null)
    {
        // Layers may have windows of their own.
        _shape = shape = shape with { Window = shape.Windows[layer % shape.Windows.Count] };
        _policy = policy;
        _layer = layer;
        _heads =
        [
            .. Enumerable.Range(0, shape.KvHeads).Select(
                head => new ReferenceHead(shape, policy, Sparsity(policy, layer), Gram(grams, head, shape.HeadSize))),
        ];
        _rotary = shape.RotaryCaches();
        _sinks = shape.HeadSink ? Array.ConvertAll(shape.HeadSinks(), sink => (double)sink)
            : [.. Enumerable.Repeat(shape.SmoothSoftmax ? 0 : double.NegativeInfinity, shape.QueryHeads)];
    }

    public IReadOnlyList<ReferenceHead> Heads => _heads;

    /// <summary>A segment: causal attention over the past and the segment, then compression.</summary>
    public float[] Prompt(TokenRows rows) => Prompt([this], new([rows]))[0];

    /// <summary>The same in all layers of a model, whose heads may share a budget.</summary>
    /// <param name="layers">The layers.</param>
    /// <param name="rows">Their rows.</param>
    /// <param name="probes">Rows of probe steps between the segment's end and its compression.</param>
    public static float[][] Prompt(ReferenceSequence[] layers, LayerRows rows, params LayerRows[] probes)
    {
        float[][] outputs = [.. layers.Zip(rows.Layers, (layer, own) => layer.Read(own))];
        Seal(layers, rows, probes, (_, _, choice) => choice.Kept);
        return outputs;
    }

    /// <summary>A segment's rows and their attention.</summary>
    public float[] Read(TokenRows rows)
    {
        var output = new List<float>();
        for (var token = 0; token < rows.Count; token++)
        {
            AddPrompt(rows, token);
            output.AddRange(Attend(rows, token));
        }

        return [.. output];
    }

    /// <summary>A segment's rows without their attention.</summary>
    public void Add(TokenRows rows)
    {
        for (var token = 0; token < rows.Count; token++)
            AddPrompt(rows, token);
    }

    /// <summary>Compresses the segment that was added last.</summary>
    /// <inheritdoc cref="Prompt(ReferenceSequence[], LayerRows, LayerRows[])" path="/param"/>
    /// <param name="settle">Of a layer's head what is kept in the end, of the leaving rows.</param>
    public static void Seal(
        ReferenceSequence[] layers, LayerRows rows, IEnumerable<LayerRows> probes, Func<int, int, ReferenceChoice, bool[]> settle)
    {
        foreach (var probe in probes)
        {
            for (var layer = 0; layer < layers.Length; layer++)
                layers[layer].Probe(probe.Layers[layer]);
        }

        ReferencePrompt[][] prompts = [.. layers.Zip(rows.Layers, (layer, own) => layer.Prompts(own))];
        var choices = ReferenceEviction.Of(layers[0]._policy, prompts);
        for (var layer = 0; layer < layers.Length; layer++)
        {
            for (var head = 0; head < prompts[layer].Length; head++)
                layers[layer]._heads[head].SealPrompt(prompts[layer][head], settle(layer, head, choices[layer][head]));
            if (prompts[layer][0].Leaving.Count > 0)
                layers[layer]._turns = 0;
        }
    }

    /// <summary>
    /// Token after token, each compressed on when it completes a tile outside the window, for which rows may be evicted
    /// before.
    /// </summary>
    /// <param name="rows">The tokens.</param>
    /// <param name="settle">Of a head's rows to evict while decoding which are in the end; null: they are.</param>
    public float[] Decode(TokenRows rows, Func<int, int[], int[]>? settle = null)
    {
        var output = new List<float>();
        for (var token = 0; token < rows.Count; token++)
        {
            if (_policy.Eviction is { WhileDecoding: true } && IsTurn())
                Evict(settle ?? ((_, worst) => worst));
            var before = _heads[0].Sealed.Tokens;
            Add(rows, token, (head, key, value) => head.AddGenerated(key, value));
            output.AddRange(Attend(rows, token));
            foreach (var head in _heads)
                head.SealGenerated();
            if (_heads[0].Sealed.Tokens > before)
                _turns = 0;
        }

        return [.. output];
    }

    // Layers take turns over the steps from 64 rows beyond the window (and 64 at least) to a full tail.
    private bool IsTurn()
    {
        int layers = _shape.Layers, capacity = _policy.RecentWindow + 64, first = Math.Max(64, _policy.RecentWindow);
        int dense = _length - _heads[0].Sealed.Tokens, left = layers - _turns, steps = capacity - dense;
        static int Ceiling(int a, int b) => (a + b - 1) / b;
        var due = steps <= 1 ? left : dense < first ? 0 : Math.Min(left, Math.Max(Ceiling(layers, capacity - first), Ceiling(left, steps)));
        var isOwn = _layer >= _turns && _layer < _turns + due;
        _turns += due;
        return isOwn;
    }

    // Every head gives up as much as brings the mean nearest to what a prompt of the length would keep when this tile leaves.
    private void Evict(Func<int, int[], int[]> settle)
    {
        var tokens = _heads[0].Sealed.Tokens;
        var target = ReferenceBudgets.Layers(_policy, _shape.Layers, tokens + 64 + _policy.RecentWindow, tokens + 64)[_layer];
        var excess = _heads.Sum(head => head.Sealed.Rows + 64 - target) / (64.0 * _heads.Length);
        foreach (var (index, head) in _heads.Index())
            head.Evict(settle(index, head.Worst(Math.Max(0, (int)Math.Ceiling(excess - 0.5)))));
    }

    /// <summary>What the scores of each head are made from, of the segment that was added last.</summary>
    public ReferencePrompt[] Prompts(TokenRows rows)
    {
        double[][][] Queries(Func<double[], int, double[]> turned) =>
        [
            .. Enumerable.Range(0, _shape.QueryHeads).Select(head => Enumerable.Range(0, rows.Count)
                .Select(token => turned(Slice(rows.Query, token, head, _shape.QueryHeads), _length - rows.Count + token)).ToArray()),
        ];
        var (rotated, raw) = (Queries(Rotated), Queries((row, _) => row));
        return
        [
            .. _heads.Select((head, h) =>
            {
                var group = (h * Group)..((h + 1) * Group);
                return head.Prompt(rotated[group], raw[group], _sinks[group]);
            }),
        ];
    }

    private static LayerSparsity Sparsity(PruningPolicy policy, int layer)
    {
        var own = policy.Layers.Count > 0 ? policy.Layers[layer] : new();
        return new()
        {
            KeyChannelSparsity = own.KeyChannelSparsity ?? policy.KeyChannelSparsity,
            ValueChannelSparsity = own.ValueChannelSparsity ?? policy.ValueChannelSparsity,
            KeySparsity = own.KeySparsity ?? policy.KeySparsity,
            ValueSparsity = own.ValueSparsity ?? policy.ValueSparsity,
        };
    }

    private static double[][]? Gram(float[]? grams, int head, int size) => grams is null ? null :
        [.. grams.AsSpan(head * size * size, size * size).ToArray().Select(x => (double)x).Chunk(size)];

    private void AddPrompt(TokenRows rows, int token) => Add(rows, token, (head, key, value) => head.AddPrompt(key, value));

    // Rows that follow the prompt for the sake of their attention and leave nothing behind.
    private void Probe(TokenRows rows)
    {
        for (var head = 0; head < _heads.Length; head++)
        {
            double[][] keys =
            [
                .. Enumerable.Range(0, rows.Count).Select(
                    token => Rotated(Slice(rows.Key, token, head, _shape.KvHeads), _length + token)),
            ];
            for (var token = 0; token < rows.Count; token++)
            {
                for (var query = head * Group; query < (head + 1) * Group; query++)
                {
                    _heads[head].Probe(
                        Rotated(Slice(rows.Query, token, query, _shape.QueryHeads), _length + token), keys[..(token + 1)], _sinks[query]);
                }
            }
        }
    }

    private int Group => _shape.QueryHeads / _shape.KvHeads;

    private void Add(TokenRows rows, int token, Action<ReferenceHead, double[], double[]> add)
    {
        for (var head = 0; head < _heads.Length; head++)
        {
            add(
                _heads[head],
                Rotated(Slice(rows.Key, token, head, _shape.KvHeads), _length),
                Slice(rows.Value, token, head, _shape.KvHeads));
        }

        _length++;
    }

    // Of the newest token.
    private IEnumerable<float> Attend(TokenRows rows, int token) =>
        Enumerable.Range(0, _shape.QueryHeads).SelectMany(head => _heads[head / Group].Attend(
            Rotated(Slice(rows.Query, token, head, _shape.QueryHeads), _length - 1), _sinks[head])).Select(x => (float)x);

    private double[] Slice(float[] rows, int token, int head, int heads) =>
        Array.ConvertAll(
            rows.AsSpan(((token * heads) + head) * _shape.HeadSize, _shape.HeadSize).ToArray(), x => (double)x);

    // Of the first RotarySize channels, j turns with j + RotarySize/2, or 2j with 2j + 1.
    private double[] Rotated(double[] row, int position)
    {
        if (!_shape.Rotary)
            return row;
        var half = _shape.RotarySize / 2;
        var turned = (double[])row.Clone();
        for (var j = 0; j < half; j++)
        {
            double cosine = _rotary.Cosine[(position * half) + j], sine = _rotary.Sine[(position * half) + j];
            var (first, second) = _shape.Interleaved ? (2 * j, (2 * j) + 1) : (j, j + half);
            turned[first] = (row[first] * cosine) - (row[second] * sine);
            turned[second] = (row[second] * cosine) + (row[first] * sine);
        }

        return turned;
    }
}
