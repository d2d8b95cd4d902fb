using System.Text;

namespace KvPrune.AI.Sampling;

/// <summary>
/// Finds stop strings in a text that arrives in pieces. Text is held back only as long as it may still become the
/// beginning of a stop string. The result does not depend on where the pieces were cut: the text ends before the stop
/// string that is completed first (the longest one if several end at the same character).
/// </summary>
internal sealed class StopMatcher
{
    private readonly string[] _stops;
    private readonly StringBuilder _held = new();

    public StopMatcher(IEnumerable<string> stops)
    {
        _stops = [.. stops];
        if (_stops.Any(string.IsNullOrEmpty))
            throw new ArgumentException("StopSequences holds an empty string.", nameof(stops));
    }

    /// <summary>True once a stop string was found; the matcher then takes no more text.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>Takes the next piece of text and returns what may be shown now.</summary>
    public string Append(string piece)
    {
        if (_stops.Length == 0) return piece;
        if (IsStopped) return "";
        foreach (char c in piece)
        {
            _held.Append(c);
            if (LongestCompleted() is not { } stop) continue;
            IsStopped = true;
            _held.Length -= stop;
            return Take(_held.Length);
        }
        return Take(_held.Length - PossibleBeginning());
    }

    /// <summary>Returns the text held back: nothing more will come.</summary>
    public string Flush() => Take(_held.Length);

    private int? LongestCompleted()
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            if (stop.Length > longest && HeldEndsWith(stop)) longest = stop.Length;
        }
        return longest > 0 ? longest : null;
    }

    /// <summary>Length of the longest end of the held text that begins a stop string.</summary>
    private int PossibleBeginning()
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            for (int length = Math.Min(stop.Length - 1, _held.Length); length > longest; length--)
            {
                if (HeldEndsWith(stop.AsSpan(0, length))) longest = length;
            }
        }
        return longest;
    }

    private bool HeldEndsWith(ReadOnlySpan<char> text)
    {
        int start = _held.Length - text.Length;
        if (start < 0) return false;
        for (int i = 0; i < text.Length; i++)
        {
            if (_held[start + i] != text[i]) return false;
        }
        return true;
    }

    private string Take(int length)
    {
        string text = _held.ToString(0, length);
        _held.Remove(0, length);
        return text;
    }
}
