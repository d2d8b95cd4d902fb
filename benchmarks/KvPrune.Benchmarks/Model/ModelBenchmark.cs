using KvPrune.AI.Models;
using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Model;

/// <summary>
/// Times whole models: every contestant reads the same prompt, one chunk each in turn, then answers greedily, one token
/// each in turn. The first contestant is the stock model.
/// </summary>
internal sealed class ModelBenchmark(GenAIModelFolder folder, CacheFlush flush, int threads, int rounds, int chunkTokens)
{
    private const int WarmUpRounds = 3;

    private readonly RunClock _clock = new(threads);

    public string TimeKind => _clock.CountsProcessorTime ? "processor time" : "elapsed time";

    /// <summary>Tokens that a contestant's cache must hold.</summary>
    public int Capacity(int context) => context + WarmUpRounds + rounds + 1;

    public List<ModelRow> Run(int context, IReadOnlyList<IModelContestant> contestants, Action<string> report)
    {
        int[] prompt = Prompt(context);
        var prefill = new double[contestants.Count];
        foreach (var contestant in contestants)
            contestant.Begin(context);
        for (var start = 0; start < context; start += chunkTokens)
        {
            report($"{Math.Min(start + chunkTokens, context)} of {context} prompt tokens ...");
            var chunk = prompt.AsMemory(start, Math.Min(chunkTokens, context - start));
            for (var i = 0; i < contestants.Count; i++)
                prefill[i] += _clock.Time(() => contestants[i].Read(chunk.Span)).TotalSeconds;
        }

        var seconds = contestants.Select(_ => new List<double>()).ToArray();
        var answers = contestants.Select(_ => new List<int>()).ToArray();
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

        return [.. contestants.Select((contestant, i) => Row(context, contestant, seconds[i], seconds[0], prefill[i], prefill[0], answers[i], answers[0]))];
    }

    private ModelRow Row(
        int context, IModelContestant contestant, List<double> seconds, List<double> stockSeconds,
        double prefill, double stockPrefill, List<int> answer, List<int> stockAnswer)
    {
        var ratios = stockSeconds.Zip(seconds, (a, b) => a / b).ToArray();
        double lower = Quantiles.Of(ratios, 0.25), upper = Quantiles.Of(ratios, 0.75);
        var dense16 = 2L * folder.Layers * folder.KvHeads * folder.HeadSize * sizeof(ushort) * (context + answer.Count);
        return new ModelRow(
            "model", Path.GetFileName(folder.Path), context, threads, 1, contestant.Name,
            Math.Round(Quantiles.Of(ratios, 0.5), 3), Math.Round(upper - lower, 3),
            Math.Round((double)contestant.CacheBytes / dense16, 4),
            Math.Round(1 / Quantiles.Of(seconds, 0.5), 2), Math.Round(prefill, 3), Math.Round(stockPrefill / prefill, 3),
            answer.Zip(stockAnswer).TakeWhile(pair => pair.First == pair.Second).Count())
        {
            LowerQuartile = lower,
            UpperQuartile = upper,
        };
    }

    private int[] Prompt(int tokens)
    {
        var random = new Random(1);
        var ordinary = Enumerable.Range(0, folder.VocabularySize).Except(folder.EndTokens).ToArray();
        return [.. Enumerable.Range(0, tokens).Select(_ => ordinary[random.Next(ordinary.Length)])];
    }
}
