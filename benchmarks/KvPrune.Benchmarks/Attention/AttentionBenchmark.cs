using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Times attention of new tokens, each format in turn with the stock operator.</summary>
internal sealed class AttentionBenchmark(CacheFlush flush, int threads, int pairs)
{
    private const int WarmUpPairs = 2;
    private const int PrefillPairs = 5;
    private const int SealRuns = 5;
    private const string StockKernels = "onnxruntime";

    private readonly RunClock _clock = new(threads);

    /// <summary>What a row's times are.</summary>
    public string TimeKind => _clock.CountsProcessorTime ? "processor time" : "elapsed time";

    /// <summary>Fills the format's cache, then, with every one of the kernels, checks the output and times it against <paramref name="stock"/>.</summary>
    /// <exception cref="InvalidOperationException">The output is wrong.</exception>
    public IEnumerable<AttentionRow> Run(string format, IReadOnlyList<string> kernels, FilledPast past, StockAttention stock)
    {
        var inputs = past.Inputs;
        stock.Step(_clock);
        if (format == AttentionFormats.Control)
        {
            yield return Time(format, StockKernels, inputs, stock, stock);
            yield break;
        }

        if (format == AttentionFormats.StockInt8)
        {
            if (inputs is { NewTokens: > 1 } or { Batch: > 1 } or { Softcap: > 0 })
                yield break;
            using var peer = new StockInt8Attention(inputs, threads);
            peer.Step(_clock);
            AttentionCheck.AgainstStock(format, peer, stock);
            yield return Time(format, StockKernels, inputs, stock, peer);
            yield break;
        }

        var policy = AttentionFormats.Policies[format];
        if (inputs.Past > 0 && AttentionFormats.ObservesWholePrompt(policy))
            yield break;
        using var contestant = new PrunedAttention(past, policy, threads);
        foreach (var kernel in kernels)
        {
            KvPruneOps.UseKernels(kernel);
            // A first step, before the runtime and the allocator keep memory for the next.
            var peak = PeakMemory.Growth(() => contestant.Step(_clock));
            AttentionCheck.AgainstRows(format, contestant, inputs);
            if (AttentionCheck.IsNearStock(policy))
                AttentionCheck.AgainstStock(format, contestant, stock);
            var row = Time(format, KvPruneOps.Kernels, inputs, stock, contestant);
            if (inputs.Past == 0)
            {
                var shape = inputs.Shape.ToModelShape(inputs.Tokens);
                var estimate = KvCacheManager.EstimateBytes(shape, policy, inputs.Tokens, 0, inputs.ChunkTokens);
                row = row with
                {
                    // What the step leaves behind, had it been committed.
                    BytesVsDense16 = Math.Round((double)estimate.ResidentBytes / shape.DenseBytes(inputs.Tokens), 4),
                    Gbps = Math.Round(estimate.ResidentBytes / row.Median.TotalSeconds / 1e9, 2),
                    PeakBytes = peak,
                    EstimatedBytes = estimate.PrefillPeakBytes,
                    SealShare = SealShare(inputs, policy, row.Median),
                };
            }

            yield return row;
        }
    }

    // Both are processor time only with one thread. Rows that are filled in bring only the last queries.
    private double? SealShare(AttentionInputs inputs, PruningPolicy policy, TimeSpan prefill)
    {
        if (!_clock.CountsProcessorTime || AttentionFormats.ObservesWholePrompt(policy))
            return null;
        using var rows = new FilledPast(inputs, [policy], inputs.Tokens);
        var seconds = Enumerable.Range(0, SealRuns).Select(_ =>
        {
            var begin = Environment.CpuUsage.TotalTime;
            using var compressed = rows.Compress(policy);
            return (Environment.CpuUsage.TotalTime - begin).TotalSeconds;
        });
        return Math.Round(Quantiles.Of(seconds, 0.5) / prefill.TotalSeconds, 4);
    }

    private AttentionRow Time(string format, string kernels, AttentionInputs inputs, StockAttention stock, IContestant contestant)
    {
        var stockSeconds = new List<double>();
        var seconds = new List<double>();
        // Reading a whole prompt takes seconds, of which chance changes little.
        var timed = inputs.Past == 0 ? Math.Min(pairs, PrefillPairs) : pairs;
        for (var pair = inputs.Past == 0 ? -1 : -WarmUpPairs; pair < timed; pair++)
        {
            var stockTime = Cold(stock);
            var time = Cold(contestant);
            if (pair >= 0)
            {
                stockSeconds.Add(stockTime.TotalSeconds);
                seconds.Add(time.TotalSeconds);
            }
        }

        var ratios = stockSeconds.Zip(seconds, (a, b) => a / b).ToArray();
        var median = Quantiles.Of(seconds, 0.5);
        double lower = Quantiles.Of(ratios, 0.25), upper = Quantiles.Of(ratios, 0.75);
        var dense16 = inputs.Batch * inputs.Shape.ToModelShape(inputs.Tokens).DenseBytes(inputs.Tokens);
        var decodes = inputs.NewTokens == 1;
        return new AttentionRow
        {
            Bench = decodes ? "attention" : inputs.Past > 0 ? "follow-up" : "prefill",
            Shape = inputs.Shape.ToString(),
            Context = inputs.Tokens,
            Threads = threads,
            Batch = inputs.Batch,
            Format = format,
            Kernels = kernels,
            RatioVsStock = Math.Round(Quantiles.Of(ratios, 0.5), 3),
            RatioSpread = Math.Round(upper - lower, 3),
            Reach = AttentionGoals.Reach(inputs, format, kernels, threads),
            BytesVsDense16 = Math.Round((double)contestant.CacheBytes / dense16, 4),
            Gbps = Math.Round(contestant.CacheBytes / median / 1e9, 2),
            ReadGbpsOneThread = Math.Round(flush.OneThreadBandwidth / 1e9, 2),
            ReadGbpsAllThreads = Math.Round(flush.AllThreadsBandwidth / 1e9, 2),
            NewTokens = decodes ? null : inputs.NewTokens,
            ChunkTokens = decodes ? null : inputs.ChunkTokens,
            LowerQuartile = lower,
            UpperQuartile = upper,
            Median = TimeSpan.FromSeconds(median),
            StockMedian = TimeSpan.FromSeconds(Quantiles.Of(stockSeconds, 0.5)),
        };
    }

    private TimeSpan Cold(IContestant contestant)
    {
        flush.Run(_clock);
        return contestant.Step(_clock);
    }
}
