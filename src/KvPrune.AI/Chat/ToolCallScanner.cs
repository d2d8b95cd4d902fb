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
    private bool _isPlain;
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
        string text = _held.ToString();
        int start = text.IndexOf(format.Opening, StringComparison.Ordinal);
        if (start < 0)
        {
            Release(shown, isEnd ? text.Length : text.Length - PossibleBeginning(text));
            return false;
        }
        int blanks = start - text.AsSpan(0, start).TrimEnd().Length;
        Release(shown, start - blanks);
        text = text[(start - blanks)..];
        int inside = blanks + format.Opening.Length;
        int close = inside;
        while (format.Closing is not null && (close = text.IndexOf(format.Closing, close, StringComparison.Ordinal)) >= 0)
        {
            List<FunctionCallContent>? calls = ToolCallReader.Read(text[inside..close], out bool isIncomplete);
            close += format.Closing.Length;
            if (calls is not null) return Accept(calls, close);
            if (isIncomplete) continue; // the mark may stand inside an argument
            Release(shown, inside);
            return true;
        }
        if (!isEnd) return false;
        if (ToolCallReader.Read(text[inside..], out _) is { } last) return Accept(last, text.Length);
        Release(shown, inside);
        return true;
    }

    private bool Accept(List<FunctionCallContent> calls, int length)
    {
        _calls.AddRange(calls);
        _held.Remove(0, length);
        _followsCall = true;
        return true;
    }

    // Without marks only an answer that is nothing but calls of the tools there are is taken for calls.
    private void TakeWhole(StringBuilder shown, bool isEnd)
    {
        string text = _held.ToString().TrimStart();
        bool isMarked = text.StartsWith(format.Opening, StringComparison.Ordinal);
        if (!_isPlain && (isMarked || text.StartsWith('{') || format.Opening.StartsWith(text, StringComparison.Ordinal)))
        {
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
