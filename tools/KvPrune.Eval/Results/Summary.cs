using KvPrune.Eval.Methods;
using KvPrune.Eval.Running;
using KvPrune.Eval.Statistics;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Results;

/// <summary>Turns measurements into a row for each method and mode.</summary>
/// <param name="measurements">The measurements; those of other policies than a method's are left out.</param>
/// <param name="countingTasks">Tasks that are left out of the accuracy over all.</param>
internal sealed class Summary(IEnumerable<Measurement> measurements, IReadOnlySet<string> countingTasks)
{
    // In an order that does not depend on when what was measured: bootstraps draw by position.
    private readonly ILookup<string, Measurement> _byMethod = measurements
        .OrderBy(measurement => measurement.Length).ThenBy(measurement => measurement.Index).ToLookup(measurement => measurement.Method);

    /// <summary>The rows, in the order of modes and methods.</summary>
    public List<MethodRow> Rows(IReadOnlyList<Method> methods, IReadOnlyList<AskMode> modes) =>
        [.. modes.SelectMany(mode => methods.Select(method => Row(method, mode)))];

    private MethodRow Row(Method method, AskMode mode)
    {
        AnswerMeasurement[] answers = Answers(method, mode);
        AnswerMeasurement[] found = [.. answers.Where(answer => !countingTasks.Contains(answer.Task))];
        double[] scores = [.. found.Select(answer => answer.Score)];
        (double[] own, double[] baseline) = Paired(found, mode);
        TextMeasurement[] texts = Of<TextMeasurement>(method);
        DriftMeasurement[] drifts = Of<DriftMeasurement>(method);
        Measurement[] compressed = [.. answers, .. texts];
        CacheBytes bytes = compressed.Aggregate(default(CacheBytes), (sum, measurement) => sum + measurement.Bytes);
        return new MethodRow
        {
            Method = method.Name,
            Family = method.Family,
            Mode = mode,
            BytesVsDense16 = Ratio(bytes.All, bytes.Dense),
            SealedBytesVsDense16 = SealedRatio(compressed),
            Accuracy = scores.Length == 0 ? null : Proportion.Wilson(scores),
            DifferenceToDense = own.Length == 0 ? null : PairedDifference.Of(own, baseline),
            DifferenceP = own.Length == 0 ? null : PairedDifference.McNemar(own, baseline),
            ExactMatch = scores.Length == 0 ? null : found.Average(answer => answer.Exact ? 1.0 : 0.0),
            AccuracyByTask = answers.GroupBy(answer => answer.Task).OrderBy(group => TaskCatalogue.Names.IndexOf(group.Key))
                .ToDictionary(group => group.Key, group => group.Average(answer => answer.Score)),
            AccuracyByLength = found.GroupBy(answer => answer.Length).OrderBy(group => group.Key)
                .ToDictionary(group => group.Key, group => group.Average(answer => answer.Score)),
            Ppl = texts.Length == 0 ? null : Exponential(Bootstrap.Mean([.. texts.Select(text => text.NegativeLogLikelihood / text.Tokens)])),
            PplVsDense = LikelihoodLosses(texts) is { Length: > 0 } losses ? Exponential(Bootstrap.Mean(losses)) : null,
            Kl = texts.Length == 0 ? null : Bootstrap.Mean([.. texts.Select(text => text.Divergence / text.Tokens)]),
            Top1 = Ratio(texts.Sum(text => text.SameChoice), texts.Sum(text => text.Tokens)),
            Samples = scores.Length,
            Drift = [.. drifts.SelectMany(drift => drift.Steps).GroupBy(bucket => bucket.First).OrderBy(group => group.Key).Select(
                group => new DriftBucket(group.Key, group.Sum(b => b.Tokens), group.Sum(b => b.Divergence), group.Sum(b => b.SameChoice)))],
            RepeatedShare = drifts.Length == 0 ? null : drifts.Average(drift => drift.RepeatedShare),
        };
    }

    private (double[] Own, double[] Baseline) Paired(AnswerMeasurement[] answers, AskMode mode)
    {
        var baseline = Answers(MethodCatalogue.Baseline, mode).ToDictionary(answer => (answer.Task, answer.Length, answer.Index), answer => answer.Score);
        AnswerMeasurement[] paired = [.. answers.Where(answer => baseline.ContainsKey((answer.Task, answer.Length, answer.Index)))];
        return ([.. paired.Select(answer => answer.Score)], [.. paired.Select(answer => baseline[(answer.Task, answer.Length, answer.Index)])]);
    }

    /// <summary>Of each text that the baseline was measured on too: by how much ln p of a token is lower.</summary>
    private double[] LikelihoodLosses(TextMeasurement[] texts)
    {
        var baseline = Of<TextMeasurement>(MethodCatalogue.Baseline).ToDictionary(text => (text.Length, text.Index), text => text.NegativeLogLikelihood);
        return
        [
            .. texts.Where(text => baseline.ContainsKey((text.Length, text.Index)))
                .Select(text => (text.NegativeLogLikelihood - baseline[(text.Length, text.Index)]) / text.Tokens),
        ];
    }

    // The median passes over prompts that end where a tile is being packed ahead, which then is counted beside its tokens in the tail.
    private static double? SealedRatio(Measurement[] measurements)
    {
        double[] ratios =
        [
            .. measurements.GroupBy(measurement => measurement.Length).MaxBy(group => group.Key)?
                .Select(measurement => Ratio(measurement.Bytes.Sealed, measurement.Bytes.SealedDense)).OfType<double>().Order()
                ?? Enumerable.Empty<double>(),
        ];
        return ratios.Length == 0 ? null : ratios[ratios.Length / 2];
    }

    private AnswerMeasurement[] Answers(Method method, AskMode mode) =>
        [.. Of<AnswerMeasurement>(method).Where(answer => answer.Mode == mode)];

    private T[] Of<T>(Method method) where T : Measurement
    {
        string fingerprint = method.Fingerprint;
        return [.. _byMethod[method.Name].OfType<T>().Where(measurement => measurement.Fingerprint == fingerprint)];
    }

    private static Interval Exponential(Interval interval) => new(Math.Exp(interval.Value), Math.Exp(interval.Low), Math.Exp(interval.High));

    private static double? Ratio(long part, long whole) => whole == 0 ? null : (double)part / whole;
}
