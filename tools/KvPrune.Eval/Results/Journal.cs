using System.Text.Json;
using System.Text.Json.Serialization;

namespace KvPrune.Eval.Results;

/// <summary>
/// The measurements of a run as JSON lines, written as they are made. The first line says what they depend on beside the
/// methods; a run can go on only under the same conditions.
/// </summary>
internal sealed class Journal : IDisposable
{
    private static readonly JsonSerializerOptions Format = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    private readonly Dictionary<(string Series, int Length, int Index, string Method), Measurement> _measurements = [];
    private readonly StreamWriter _writer;

    private Journal(StreamWriter writer) => _writer = writer;

    /// <summary>All measurements, those of earlier runs included.</summary>
    public IReadOnlyCollection<Measurement> Measurements => _measurements.Values;

    /// <summary>Begins a journal, or goes on with the one that is there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="conditions">What the measurements depend on.</param>
    /// <exception cref="InvalidDataException">The journal that is there is of other conditions, or is no journal.</exception>
    public static Journal Open(string path, RunConditions conditions)
    {
        string[] lines = File.Exists(path) ? File.ReadAllLines(path) : [];
        List<Measurement> earlier = lines.Length == 0 ? [] : Read(path, lines, conditions);
        // A run that was killed left half a line, whose sample is measured again.
        if (earlier.Count < lines.Length - 1) File.WriteAllLines(path, lines[..^1]);
        var journal = new Journal(new StreamWriter(path, append: true));
        if (lines.Length == 0) journal.Write(conditions);
        earlier.ForEach(journal.Keep);
        return journal;
    }

    /// <summary>Whether a sample was measured with this very policy.</summary>
    public bool Has(string series, int length, int index, Methods.Method method) =>
        _measurements.TryGetValue((series, length, index, method.Name), out Measurement? found) && found.Fingerprint == method.Fingerprint;

    /// <summary>Adds the measurements of one sample.</summary>
    public void Add(IReadOnlyCollection<Measurement> measurements)
    {
        foreach (Measurement measurement in measurements)
        {
            Keep(measurement);
            Write(measurement);
        }
    }

    public void Dispose() => _writer.Dispose();

    private static List<Measurement> Read(string path, string[] lines, RunConditions conditions)
    {
        RunConditions earlier = Parse<RunConditions>(lines[0])
            ?? throw new InvalidDataException($"{path} is not the journal of an evaluation: its first line does not say what was measured.");
        if (earlier != conditions)
            throw new InvalidDataException($"{path} was measured under other conditions ({earlier}) than this run's ({conditions}). Choose another output folder.");
        List<Measurement> measurements = [];
        for (int i = 1; i < lines.Length; i++)
        {
            if (Parse<Measurement>(lines[i]) is { } measurement) measurements.Add(measurement);
            else if (i < lines.Length - 1) throw new InvalidDataException($"{path}, line {i + 1} is no measurement.");
        }
        return measurements;
    }

    private void Keep(Measurement measurement) =>
        _measurements[(measurement.Series, measurement.Length, measurement.Index, measurement.Method)] = measurement;

    private void Write<T>(T line)
    {
        _writer.WriteLine(JsonSerializer.Serialize(line, Format));
        _writer.Flush();
    }

    private static T? Parse<T>(string line) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(line, Format);
        }
        catch (Exception error) when (error is JsonException or NotSupportedException)
        {
            return null;
        }
    }
}
