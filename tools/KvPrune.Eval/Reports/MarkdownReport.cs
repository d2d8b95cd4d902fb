using System.Globalization;
using System.Text;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Reports;

/// <summary>The results as tables for people.</summary>
internal static class MarkdownReport
{
    public static string Write(IReadOnlyList<MethodRow> rows, RunConditions conditions)
    {
        var text = new StringBuilder();
        Line($"# Evaluation of {conditions.Model.Split(' ')[0]}");
        Line("");
        Line($"Seed {conditions.Seed}. Intervals are of 95 %. Bytes are measured, over those of a dense 16-bit cache: \"all\" counts everything, "
            + "\"sealed\" leaves out the dense tail and the tokens in it, which is what long prompts come close to.");
        foreach (IGrouping<AskMode, MethodRow> mode in rows.GroupBy(row => row.Mode))
        {
            MethodRow[] answered = [.. mode.Where(row => row.AccuracyByTask.Count > 0)];
            if (answered.Length == 0) continue;
            Line("");
            Line($"## {Title(mode.Key)}");
            Line("");
            Line("Points are per cent of the right answers given. Tasks that count words, which the bundled model was not trained on, are not part of "
                + "\"accuracy\". The difference is to `dense` on the same samples, p is of McNemar's test.");
            Line("");
            Table(
                ["method", "bytes, all", "sealed", "accuracy", "difference", "p", "exact", "samples"],
                answered.Select(row => (string[])
                [
                    row.Method, Number(row.BytesVsDense16, "0.000"), Number(row.SealedBytesVsDense16, "0.000"), Points(row.Accuracy),
                    Points(row.DifferenceToDense, sign: true), Number(row.DifferenceP, "0.000"), Number(100 * row.ExactMatch, "0.0"),
                    row.Samples.ToString(CultureInfo.InvariantCulture),
                ]));
            string[] tasks = [.. answered.SelectMany(row => row.AccuracyByTask.Keys).Distinct()];
            int[] lengths = [.. answered.SelectMany(row => row.AccuracyByLength.Keys).Distinct().Order()];
            Line("");
            Table(
                ["method", .. tasks, .. lengths.Select(length => FormattableString.Invariant($"{length} tokens"))],
                answered.Select(row => (string[])
                [
                    row.Method, .. tasks.Select(task => Number(100 * At(row.AccuracyByTask, task), "0.0")),
                    .. lengths.Select(length => Number(100 * At(row.AccuracyByLength, length), "0.0")),
                ]));
        }

        // Every mode has the same.
        MethodRow[] once = [.. rows.DistinctBy(row => row.Method)];
        if (once.Any(row => row.Ppl is not null))
        {
            Line("");
            Line("## Text after a compressed prefix");
            Line("");
            Line("A prefix is read and compressed, then the text goes on token by token; the predictions that read the compressed cache are scored. "
                + "KL is to `dense`, in nats a token; top-1 is how often both find the same token the likeliest.");
            Line("");
            Table(
                ["method", "perplexity", "over dense", "KL", "top-1"],
                once.Select(row => (string[])
                [
                    row.Method, Numbers(row.Ppl, "0.00"), Numbers(row.PplVsDense, "0.000"), Numbers(row.Kl, "0.0000"), Number(100 * row.Top1, "0.0"),
                ]));
        }
        int[] starts = [.. once.SelectMany(row => row.Drift.Select(bucket => bucket.First)).Distinct().Order()];
        if (starts.Length > 0)
        {
            Line("");
            Line("## Long generation");
            Line("");
            Line("KL to `dense` in nats a token (top-1 agreement in per cent) by the number of tokens generated before, on a continuation that `dense` "
                + "wrote. The last column is the share of 4-grams in the method's own continuation that stood in it before.");
            Line("");
            Table(
                ["method", .. starts.Select(first => FormattableString.Invariant($"from {first}")), "repeated"],
                once.Select(row => (string[])
                [
                    row.Method, .. starts.Select(first => row.Drift.FirstOrDefault(bucket => bucket.First == first) is { } bucket
                        ? $"{Number(bucket.Divergence / bucket.Tokens, "0.0000")} ({Number(100.0 * bucket.SameChoice / bucket.Tokens, "0")})" : ""),
                    Number(100 * row.RepeatedShare, "0.0"),
                ]));
        }
        return text.ToString();

        void Line(string line) => text.Append(line).Append('\n');
        void Table(string[] header, IEnumerable<string[]> lines)
        {
            Line($"| {string.Join(" | ", header)} |");
            Line($"|---{string.Concat(header.Skip(1).Select(_ => "|---:"))}|");
            foreach (string[] line in lines) Line($"| {string.Join(" | ", line)} |");
        }
    }

    private static string Title(AskMode mode) => mode switch
    {
        AskMode.Aware => "The question in the compressed prompt",
        AskMode.Agnostic => "The question after the compressed document",
        _ => "A second question on the same compressed prompt",
    };

    private static double? At<T>(IReadOnlyDictionary<T, double> values, T key) => values.TryGetValue(key, out double value) ? value : null;

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";

    private static string Numbers(Interval? interval, string format) => interval is not { } i ? ""
        : $"{Number(i.Value, format)} ({Number(i.Low, format)} to {Number(i.High, format)})";

    private static string Points(Interval? interval, bool sign = false) => interval is not { } i ? ""
        : Numbers(new(100 * i.Value, 100 * i.Low, 100 * i.High), sign ? "+0.0;-0.0;0.0" : "0.0");
}
