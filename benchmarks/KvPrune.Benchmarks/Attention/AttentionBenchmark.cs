using KvPrune.Benchmarks.Measuring;

using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Times attention of new tokens, each format in turn with the stock operator.</summary>
internal sealed class AttentionBenchmark(CacheFlush flush, int threads, int pairs)
{
    private const int WarmUpPairs = 3;

    private readonly RunClock _clock = new(threads);
    private readonly List<double> _flushSeconds = [];

    /// <summary>Median speed of the flush: what one thread reads from memory on this machine, bytes a second.</summary>
    public double ReadBandwidth => flush.BufferBytes / Quantiles.Of(_flushSeconds, 0.5);

    /// <summary>What a row's times are.</summary>
    public string TimeKind => _clock.CountsProcessorTime ? "processor time" : "elapsed time";

    /// <summary>Fills the format's cache, checks its output and times it against <paramref name="stock"/>.</summary>
    /// <exception cref="InvalidOperationException">The output is wrong.</exception>
    public AttentionRow Run(string format, AttentionInputs inputs, StockAttention stock)
    {
        if (format == AttentionFormats.Control)
            return Time(format, inputs, stock, stock);
        if (format == AttentionFormats.StockInt8)
        {
            using var peer = new StockInt8Attention(inputs, threads);
            stock.Step(_clock);
            peer.Step(_clock);
            AttentionCheck.AgainstStock(format, peer, stock);
            return Time(format, inputs, stock, peer);
        }

        var policy = AttentionFormats.Policies[format];
        using var contestant = new PrunedAttention(inputs, policy, threads);
        stock.Step(_clock);
        // A first step, before the runtime and the allocator keep memory for the next.
        var peak = PeakMemory.Growth(() => contestant.Step(_clock));
        AttentionCheck.AgainstRows(format, contestant, inputs);
        if (AttentionCheck.IsNearStock(policy))
            AttentionCheck.AgainstStock(format, contestant, stock);
        var row = Time(format, inputs, stock, contestant);
        if (inputs.Past > 0)
            return row;
        var shape = inputs.Shape.ToModelShape(inputs.Tokens);
        var estimate = KvCacheManager.EstimateBytes(shape, policy, inputs.Tokens, 0, inputs.ChunkTokens);
        return row with { PeakBytes = peak, EstimatedBytes = estimate.PrefillPeakBytes };
    }

    private AttentionRow Time(string format, AttentionInputs inputs, StockAttention stock, IContestant contestant)
    {
        var stockSeconds = new List<double>();
        var seconds = new List<double>();
        for (var pair = -WarmUpPairs; pair < pairs; pair++)
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
        var dense16 = inputs.Shape.ToModelShape(inputs.Tokens).DenseBytes(inputs.Tokens);
        return new AttentionRow(
            Name(inputs), inputs.Shape.ToString(), inputs.Tokens, inputs.NewTokens, inputs.ChunkTokens, threads, 1, format,
            Math.Round(Quantiles.Of(ratios, 0.5), 3), Math.Round(upper - lower, 3),
            Math.Round((double)contestant.CacheBytes / dense16, 4), Math.Round(contestant.CacheBytes / median / 1e9, 2))
        {
            LowerQuartile = lower,
            UpperQuartile = upper,
            Median = TimeSpan.FromSeconds(median),
            StockMedian = TimeSpan.FromSeconds(Quantiles.Of(stockSeconds, 0.5)),
        };
    }

    private static string Name(AttentionInputs inputs) =>
        inputs.NewTokens == 1 ? "attention" : inputs.Past > 0 ? "follow-up" : "prefill";

    private TimeSpan Cold(IContestant contestant)
    {
        _flushSeconds.Add(flush.Run(_clock).TotalSeconds);
        return contestant.Step(_clock);
    }
}
