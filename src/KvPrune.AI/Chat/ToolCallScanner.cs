using System.Text;
using KvPrune.AI.Templates;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>
/// Takes calls out of a text that arrives in pieces. Text is held back only while it may still become a call; what turns
/// out to be none comes out unchanged. White space next to calls is dropped, as templates write their own. The result does
/// not depend on where the pieces were cut.
/// </summary>
/// <param name="format">How the model writes calls.</param>
/// <param name="names">The tools that were offered.</param>
internal sealed class ToolCallScanner(ToolCallFormat format, IReadOnlySet<string> names)
{
    private readonly StringBuilder _held = new();
    private readonly List<FunctionCallContent> _calls = [];
    private bool _isPlain; // without marks: whether the answer is text
    private bool _isWhole; // or is held to its end
    private int _inside; // where the call that is held begins after its opening; 0 if none is
    private int _searched; // up to where its closing was looked for
    private bool _followsCall;

    /// <summary>The calls found so far.</summary>
    public IReadOnlyList<FunctionCallContent> Calls => _calls;

    /// <summary>Takes the next piece of text and returns what may be shown now.</summary>
    public string Append(string piece)
    {
        _held.Append(piece);
        return Take(isEnd: false);
    }

    /// <summary>Ends the text and returns what is left of it to show.</summary>
    public string Finish() => Take(isEnd: true);

    private string Take(bool isEnd)
    {
        var shown = new StringBuilder();
        if (format.IsOptional) TakeWhole(shown, isEnd);
        else while (TakeMarked(shown, isEnd)) { }
        return shown.ToString();
    }

    /// <summary>Handles the text up to and with the next opening; false if there is none or it cannot be judged yet.</summary>
    private bool TakeMarked(StringBuilder shown, bool isEnd)
    {
        if (_inside == 0 && !FindOpening(shown, isEnd)) return false;
        while (FindClosing() is { } close)
        {
            int end = close + format.Closing!.Length;
            if (ToolCallReader.Read(Held(_inside, close), out bool isIncomplete) is { } calls) return Accept(calls, end);
            // The mark may stand inside an argument: only within a string may JSON go on with it.
            if (isIncomplete) ToolCallReader.Read(Held(_inside, end), out isIncomplete);
            if (!isIncomplete) return Reject(shown);
            _searched = end;
        }
        if (!isEnd) return false;
        return ToolCallReader.Read(Held(_inside, _held.Length), out _) is { } last ? Accept(last, _held.Length) : Reject(shown);
    }

    /// <summary>Releases what stands before the next opening; false if there is none.</summary>
    private bool FindOpening(StringBuilder shown, bool isEnd)
    {
        string text = _held.ToString();
        int start = text.IndexOf(format.Opening, StringComparison.Ordinal);
        if (start < 0)
        {
            Release(shown, isEnd ? text.Length : text.Length - PossibleBeginning(text));
            return false;
        }
        int blanks = start - text.AsSpan(0, start).TrimEnd().Length;
        Release(shown, start - blanks);
        _inside = _searched = blanks + format.Opening.Length;
        return true;
    }

    /// <summary>Where the next closing stands after those that were judged; null if there is none yet.</summary>
    private int? FindClosing()
    {
        if (format.Closing is null) return null;
        int found = Held(_searched, _held.Length).IndexOf(format.Closing, StringComparison.Ordinal);
        if (found >= 0) return _searched + found;
        _searched = Math.Max(_searched, _held.Length - format.Closing.Length + 1); // its beginning may be there
        return null;
    }

    private string Held(int start, int end) => _held.ToString(start, end - start);

    // The opening is text then, and what follows it is looked at anew.
    private bool Reject(StringBuilder shown)
    {
        Release(shown, _inside);
        _inside = 0;
        return true;
    }

    private bool Accept(List<FunctionCallContent> calls, int length)
    {
        _calls.AddRange(calls);
        _held.Remove(0, length);
        _inside = 0;
        _followsCall = true;
        return true;
    }

    // Without marks only an answer that is nothing but calls of the tools there are is taken for calls.
    private void TakeWhole(StringBuilder shown, bool isEnd)
    {
        if (_isWhole && !isEnd) return;
        string text = _held.ToString().TrimStart();
        bool isMarked = text.StartsWith(format.Opening, StringComparison.Ordinal);
        if (!_isPlain && (isMarked || text.StartsWith('{') || format.Opening.StartsWith(text, StringComparison.Ordinal)))
        {
            _isWhole = isMarked || text.StartsWith('{');
            if (!isEnd) return;
            if (ToolCallReader.Read(isMarked ? text[format.Opening.Length..] : text, out _) is { } calls
                && (isMarked || calls.All(call => names.Contains(call.Name))))
            {
                Accept(calls, _held.Length);
            }
        }
        _isPlain = true;
        Release(shown, _held.Length);
    }

    private void Release(StringBuilder shown, int length)
    {
        string text = _held.ToString(0, length);
        _held.Remove(0, length);
        if (_followsCall) text = text.TrimStart();
        if (text.Length == 0) return;
        _followsCall = false;
        shown.Append(text);
    }

    /// <summary>Length of the end of the text that may become an opening, with the white space before it.</summary>
    private int PossibleBeginning(string text)
    {
        int length = Math.Min(format.Opening.Length - 1, text.Length);
        while (!text.EndsWith(format.Opening[..length], StringComparison.Ordinal)) length--;
        return text.Length - text.AsSpan(0, text.Length - length).TrimEnd().Length;
    }
}
