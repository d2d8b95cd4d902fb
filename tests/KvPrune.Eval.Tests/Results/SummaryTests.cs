using KvPrune.Eval.Methods;
using KvPrune.Eval.Reports;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Tests.Results;

public sealed class SummaryTests
{
    private static readonly Method Other = MethodCatalogue.All.Single(method => method.Name == "int8");

    [Fact]
    public void Rows_hold_means_and_differences_on_the_same_samples()
    {
        List<Measurement> measurements = [];
        for (int i = 0; i < 10; i++)
        {
            measurements.Add(Answer(MethodCatalogue.Baseline, "multi-key", i, 1));
            measurements.Add(Answer(Other, "multi-key", i, i < 8 ? 1 : 0));
            measurements.Add(Answer(Other, "common-words", i, 0));
        }
        measurements.Add(Answer(Other, "multi-key", 10, 0)); // the baseline lacks it
        measurements.Add(Answer(Other with { Policy = new() { KeySparsity = 0.9 } }, "multi-key", 11, 0)); // another policy of that name
        MethodRow row = Rows(measurements)[1];

        Assert.Equal(11, row.Samples);
        Assert.Equal(8 / 11.0, row.Accuracy!.Value.Value, 12);
        Assert.Equal(-0.2, row.DifferenceToDense!.Value.Value, 12);
        Assert.Equal(0.5, row.DifferenceP!.Value, 12);
        Assert.Equal(0, row.AccuracyByTask["common-words"]);
        Assert.Equal(0.25, row.BytesVsDense16!.Value, 12);
        Assert.Equal(0.2, row.SealedBytesVsDense16!.Value, 12);
        Assert.Null(row.Ppl);
    }

    [Fact]
    public void Perplexity_is_that_of_all_texts_and_its_ratio_is_paired()
    {
        MethodRow row = Rows(
        [
            Text(MethodCatalogue.Baseline, 0, 1), Text(MethodCatalogue.Baseline, 1, 3), Text(Other, 0, 1.5), Text(Other, 1, 3.5),
        ])[1];
        Assert.Equal(Math.Exp(2.5), row.Ppl!.Value.Value, 9);
        Interval ratio = row.PplVsDense!.Value;
        Assert.Equal(Math.Exp(0.5), ratio.Value, 9);
        Assert.Equal(ratio.Value, ratio.Low, 9); // the same on every text, however much the texts differ
        Assert.Equal(0.25, row.Top1);
    }

    [Fact]
    public void Reports_of_the_rows_have_a_line_for_each_method()
    {
        using var folder = new TemporaryFolder();
        List<MethodRow> rows = Rows([Answer(MethodCatalogue.Baseline, "multi-key", 0, 1), Answer(Other, "multi-key", 0, 0.5), Text(Other, 0, 2)]);
        ReportFolder.Write(folder.Path, rows, new RunConditions("model", "text", 1));
        string[] csv = File.ReadAllLines(folder.File("results.csv"));
        Assert.Equal(3, csv.Length);
        Assert.All(csv, line => Assert.Equal(csv[0].Count(c => c == ','), line.Count(c => c == ',')));
        Assert.StartsWith("int8,\"storage\",aware,0.25,0.2,0.5,", csv[2], StringComparison.Ordinal);
        Assert.Contains("| int8 | 0.250 | 0.200 | 50.0 (", File.ReadAllText(folder.File("report.md")), StringComparison.Ordinal);
        byte[] png = File.ReadAllBytes(folder.File("accuracy-aware.png"));
        Assert.Equal("PNG"u8, png.AsSpan(1, 3));
        Assert.True(File.Exists(folder.File("kl.png")));
    }

    private static List<MethodRow> Rows(IReadOnlyList<Measurement> measurements) =>
        new Summary(measurements, new HashSet<string> { "common-words" }).Rows([MethodCatalogue.Baseline, Other], [AskMode.Aware]);

    private static AnswerMeasurement Answer(Method method, string task, int index, double score) => new(
        method.Name, method.Fingerprint, 256, index, task, AskMode.Aware, score, score == 1, "") { Bytes = new(25, 100, 10, 50) };

    private static TextMeasurement Text(Method method, int index, double logLikelihood) =>
        new(method.Name, method.Fingerprint, 256, index, 128, 128 * logLikelihood, 12.8, 32) { Bytes = new(25, 100, 10, 50) };
}
