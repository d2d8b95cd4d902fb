using System.Text.Json.Serialization;
using KvPrune.Eval.Running;

namespace KvPrune.Eval.Results;

/// <summary>What one method did on one sample: a line of the journal.</summary>
/// <param name="Method">The method's name.</param>
/// <param name="Fingerprint">The policy that it was.</param>
/// <param name="Length">The most tokens that the sample was made for.</param>
/// <param name="Index">The sample's number among those of its kind and length.</param>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(AnswerMeasurement), "answer")]
[JsonDerivedType(typeof(TextMeasurement), "text")]
[JsonDerivedType(typeof(DriftMeasurement), "drift")]
internal abstract record Measurement(string Method, string Fingerprint, int Length, int Index)
{
    /// <summary>What is measured, in which mode: with length and index it tells samples apart.</summary>
    [JsonIgnore]
    public abstract string Series { get; }

    public required CacheBytes Bytes { get; init; }
}

/// <summary>An answer to a question.</summary>
/// <param name="Task">The name of the task.</param>
/// <param name="Mode">Where the question stood.</param>
/// <param name="Score">The fraction of the right answers that it holds.</param>
/// <param name="Exact">Whether it is the right answer as a whole.</param>
/// <param name="Text">The answer.</param>
internal sealed record AnswerMeasurement(
    string Method, string Fingerprint, int Length, int Index, string Task, AskMode Mode, double Score, bool Exact, string Text)
    : Measurement(Method, Fingerprint, Length, Index)
{
    [JsonIgnore]
    public override string Series => SeriesOf(Mode, Task);

    public static string SeriesOf(AskMode mode, string task) => $"{mode}/{task}";
}

/// <summary>Natural text after a compressed prefix, each token read with those before it given.</summary>
/// <param name="Tokens">Tokens predicted.</param>
/// <param name="NegativeLogLikelihood">Sum of −ln p of the text's tokens.</param>
/// <param name="Divergence">Sum of the Kullback-Leibler divergences from the baseline's distributions, in nats.</param>
/// <param name="SameChoice">At how many tokens the likeliest one is the baseline's.</param>
internal sealed record TextMeasurement(
    string Method, string Fingerprint, int Length, int Index, int Tokens, double NegativeLogLikelihood, double Divergence, int SameChoice)
    : Measurement(Method, Fingerprint, Length, Index)
{
    public const string TaskName = "perplexity";

    [JsonIgnore]
    public override string Series => TaskName;
}

/// <summary>A long continuation of a text.</summary>
/// <param name="Steps">Distance from the baseline by the number of tokens generated before, on the baseline's own continuation.</param>
/// <param name="RepeatedShare">Share of the 4-grams of the method's own continuation that stood in it before.</param>
internal sealed record DriftMeasurement(
    string Method, string Fingerprint, int Length, int Index, IReadOnlyList<DriftBucket> Steps, double RepeatedShare)
    : Measurement(Method, Fingerprint, Length, Index)
{
    public const string TaskName = "drift";

    [JsonIgnore]
    public override string Series => TaskName;
}
