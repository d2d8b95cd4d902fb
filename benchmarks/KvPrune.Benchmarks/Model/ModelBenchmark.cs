using KvPrune.AI.Models;
using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Model;

/// <summary>
/// Times whole models: every contestant reads the same prompt, one chunk each in turn, then answers greedily, one token
/// each in turn. The first contestant is the stock model.
/// </summary>
/// <param name="folder">The model.</param>
/// <param name="flush">Runs before each token.</param>
/// <param name="threads">Threads of one run.</param>
/// <param name="rounds">Answer tokens that are timed.</param>
/// <param name="chunkTokens">Tokens that one run reads at most.</param>
/// <param name="report">Is told of the progress.</param>
internal sealed class ModelBenchmark(GenAIModelFolder folder, CacheFlush flush, int threads, int rounds, int chunkTokens, Action<string> report)
{
    private const int WarmUpRounds = 3;

    private readonly RunClock _clock = new(threads);

    public string TimeKind => _clock.CountsProcessorTime ? "processor time" : "elapsed time";

    private double ReadBandwidth => threads == 1 ? flush.OneThreadBandwidth : flush.AllThreadsBandwidth;

    /// <summary>Tokens that a contestant's cache must hold.</summary>
    public int Capacity(int context) => context + WarmUpRounds + rounds + 1;

    /// <param name="prompt">What is read.</param>
    /// <param name="past">What is before it; null: nothing.</param>
    /// <param name="contestants">The stock model first.</param>
    public List<ModelRow> Run(int[] prompt, FilledRows? past, IReadOnlyList<IModelContestant> contestants)
    {
        report("the weights alone ...");
        foreach (var contestant in contestants)
        {
            contestant.Start(null);
            contestant.Announce(1);
            contestant.Read(prompt.AsSpan(0, 1));
        }

        var weights = Decode(contestants, out _);
        var sealing = contestants.Select(contestant => contestant.Start(past)?.TotalSeconds).ToArray();
        var firstToken = Read(prompt, contestants);
        report("an answer ...");
        var seconds = Decode(contestants, out var answers);
        var context = prompt.Length + (past?.Tokens ?? 0);
        var stockSeconds = seconds[0];
        return [.. contestants.Select((contestant, i) =>
        {
            var ratios = stockSeconds.Zip(seconds[i], (a, b) => a / b).ToArray();
            double lower = Quantiles.Of(ratios, 0.25), upper = Quantiles.Of(ratios, 0.75);
            var dense16 = 2L * folder.Layers * folder.KvHeads * folder.HeadSize * sizeof(ushort) * (context + answers[i].Count);
            double median = Quantiles.Of(seconds[i], 0.5), weightsMedian = Quantiles.Of(weights[i], 0.5);
            var best = weightsMedian + (contestant.CacheBytes / ReadBandwidth);
            var shape = Path.GetFileName(folder.Path);
            return new ModelRow
            {
                Shape = shape,
                Context = context,
                Filled = past?.Tokens ?? 0,
                Threads = threads,
                Format = contestant.Name,
                RatioVsStock = Math.Round(Quantiles.Of(ratios, 0.5), 3),
                RatioSpread = Math.Round(upper - lower, 3),
                Reach = ModelGoals.Reach(shape, context, contestant),
                RooflineRatio = Math.Round(Quantiles.Of(stockSeconds, 0.5) / best, 3),
                BytesVsDense16 = Math.Round((double)contestant.CacheBytes / dense16, 4),
                Gbps = median > weightsMedian ? Math.Round(contestant.CacheBytes / (median - weightsMedian) / 1e9, 2) : null,
                TokensPerSecond = Math.Round(1 / median, 2),
                WeightsSeconds = Math.Round(weightsMedian, 5),
                AttentionSeconds = Math.Round(median - weightsMedian, 5),
                FirstTokenSeconds = Math.Round(firstToken[i], 3),
                FirstTokenRatioVsStock = Math.Round(firstToken[0] / firstToken[i], 3),
                SealSeconds = sealing[i] is { } seal ? Math.Round(seal, 3) : null,
                EqualTokens = answers[i].Zip(answers[0]).TakeWhile(pair => pair.First == pair.Second).Count(),
                ReadGbps = Math.Round(ReadBandwidth / 1e9, 2),
                LowerQuartile = lower,
                UpperQuartile = upper,
            };
        })];
    }

    /// <summary>How even <paramref name="steps"/> steps in a row are, each contestant by itself and with what it left in the caches.</summary>
    /// <inheritdoc cref="Run"/>
    public List<StepsRow> RunSteps(int[] prompt, FilledRows? past, IReadOnlyList<IModelContestant> contestants, int steps)
    {
        var rows = new List<StepsRow>();
        foreach (var contestant in contestants)
        {
            contestant.Start(past);
            Read(prompt, [contestant]);
            report($"{contestant.Name}: {steps} steps ...");
            for (var i = 0; i < WarmUpRounds; i++)
                contestant.Step();
            var seconds = Enumerable.Range(0, steps).Select(_ => _clock.Time(() => contestant.Step()).TotalSeconds).ToArray();
            var median = Quantiles.Of(seconds, 0.5);
            rows.Add(new StepsRow
            {
                Shape = Path.GetFileName(folder.Path),
                Context = prompt.Length + (past?.Tokens ?? 0),
                Threads = threads,
                Format = contestant.Name,
                Steps = steps,
                MedianMilliseconds = Math.Round(median * 1e3, 3),
                P99VsMedian = Math.Round(Quantiles.Of(seconds, 0.99) / median, 3),
                MaxVsMedian = Math.Round(seconds.Max() / median, 3),
                Reach = contestant is PrunedModel ? ModelGoals.MaxVsMedian : null,
            });
        }

        return rows;
    }

    /// <summary>Random tokens that do not end an answer.</summary>
    public int[] Prompt(int tokens)
    {
        var random = new Random(1);
        var ordinary = Enumerable.Range(0, folder.VocabularySize).Except(folder.EndTokens).ToArray();
        return [.. Enumerable.Range(0, tokens).Select(_ => ordinary[random.Next(ordinary.Length)])];
    }

    private double[] Read(int[] prompt, IReadOnlyList<IModelContestant> contestants)
    {
        var seconds = new double[contestants.Count];
        foreach (var contestant in contestants)
            contestant.Announce(prompt.Length);
        for (var start = 0; start < prompt.Length; start += chunkTokens)
        {
            report($"{Math.Min(start + chunkTokens, prompt.Length)} of {prompt.Length} prompt tokens ...");
            var chunk = prompt.AsMemory(start, Math.Min(chunkTokens, prompt.Length - start));
            for (var i = 0; i < contestants.Count; i++)
                seconds[i] += _clock.Time(() => contestants[i].Read(chunk.Span)).TotalSeconds;
        }

        return seconds;
    }

    private List<double>[] Decode(IReadOnlyList<IModelContestant> contestants, out List<int>[] answers)
    {
        var seconds = contestants.Select(_ => new List<double>()).ToArray();
        answers = [.. contestants.Select(_ => new List<int>())];
        for (var round = -WarmUpRounds; round < rounds; round++)
        {
            for (var i = 0; i < contestants.Count; i++)
            {
                flush.Run(_clock);
                var token = 0;
                var time = _clock.Time(() => token = contestants[i].Step());
                answers[i].Add(token);
                if (round >= 0)
                    seconds[i].Add(time.TotalSeconds);
            }
        }

        return seconds;
    }
}
