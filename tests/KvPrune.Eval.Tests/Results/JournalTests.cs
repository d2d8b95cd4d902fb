using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;

namespace KvPrune.Eval.Tests.Results;

public sealed class JournalTests : IDisposable
{
    private static readonly RunConditions Conditions = new("model", "text", 1);
    private static readonly Method Method = MethodCatalogue.Baseline;

    private readonly TemporaryFolder _folder = new();

    private string File => _folder.File("samples.jsonl");

    [Fact]
    public void Measurements_of_all_kinds_come_back_as_they_were()
    {
        Measurement[] measurements =
        [
            Answer(0),
            new TextMeasurement(Method.Name, Method.Fingerprint, 256, 0, 128, 400.5, 0.25, 120) { Bytes = new(1, 2, 3, 4) },
            new DriftMeasurement(Method.Name, Method.Fingerprint, 512, 0, [new(0, 256, 0.5, 250)], 0.125) { Bytes = new(5, 6, 7, 8) },
        ];
        using (var journal = Journal.Open(File, Conditions)) journal.Add(measurements);
        using var again = Journal.Open(File, Conditions);
        Assert.Equivalent(measurements, again.Measurements, strict: true);
        Assert.True(again.Has("Aware/multi-key", 256, 0, Method));
        Assert.False(again.Has("Aware/multi-key", 256, 1, Method));
        Assert.False(again.Has("Aware/multi-key", 256, 0, Method with { Policy = new() { KeySparsity = 0.5 } }));
    }

    [Fact]
    public void Half_a_last_line_is_measured_again_and_the_journal_stays_whole()
    {
        using (var journal = Journal.Open(File, Conditions)) journal.Add([Answer(0), Answer(1)]);
        System.IO.File.WriteAllText(File, System.IO.File.ReadAllText(File)[..^20]);
        using (var journal = Journal.Open(File, Conditions))
        {
            Assert.Single(journal.Measurements);
            journal.Add([Answer(1)]);
        }
        using var again = Journal.Open(File, Conditions);
        Assert.Equal(2, again.Measurements.Count);
    }

    [Fact]
    public void Other_conditions_and_broken_lines_are_refused()
    {
        using (var journal = Journal.Open(File, Conditions)) journal.Add([Answer(0), Answer(1)]);
        var error = Assert.Throws<InvalidDataException>(() => Journal.Open(File, Conditions with { Seed = 2 }));
        Assert.Contains("Seed = 2", error.Message, StringComparison.Ordinal);
        string[] lines = System.IO.File.ReadAllLines(File);
        System.IO.File.WriteAllLines(File, [lines[0], "{}", lines[2]]);
        Assert.Contains("line 2", Assert.Throws<InvalidDataException>(() => Journal.Open(File, Conditions)).Message, StringComparison.Ordinal);
        System.IO.File.WriteAllText(File, "not json\n");
        Assert.Throws<InvalidDataException>(() => Journal.Open(File, Conditions));
    }

    public void Dispose() => _folder.Dispose();

    private static AnswerMeasurement Answer(int index) =>
        new(Method.Name, Method.Fingerprint, 256, index, "multi-key", AskMode.Aware, 1, true, "ä 7319") { Bytes = new(10, 20, 5, 10) };
}
