using KvPrune.AI.Sampling;

namespace KvPrune.AI.Engine;

/// <summary>Turns the tokens of one answer into text that may be shown, and watches for stop strings.</summary>
/// <param name="decode">The text that a token completes; holds back partial characters.</param>
/// <param name="flush">The text still held back at the end.</param>
/// <param name="stops">Stop strings; the text ends before the first one.</param>
internal sealed class AnswerText(Func<int, string> decode, Func<string> flush, IEnumerable<string> stops)
{
    private readonly StopMatcher _matcher = new(stops);

    /// <summary>True once a stop string was found.</summary>
    public bool IsStopped => _matcher.IsStopped;

    public string Append(int token) => _matcher.Append(decode(token));

    public string Finish() => _matcher.IsStopped ? "" : _matcher.Append(flush()) + _matcher.Flush();
}
