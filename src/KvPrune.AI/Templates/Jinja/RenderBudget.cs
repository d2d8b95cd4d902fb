namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Bounds on the work and the output of one rendering. Both grow with the messages, because an honest template handles
/// every character a fixed number of times.
/// </summary>
internal sealed class RenderBudget(long contentLength)
{
    private const int CharactersPerStep = 4;

    private readonly long _longestText = 1_000_000 + 4 * contentLength;
    private long _steps = 5_000_000 + 64 * contentLength;

    /// <summary>Counts evaluated nodes or visited items.</summary>
    /// <exception cref="TemplateFaultException">The template has used up its steps.</exception>
    public void Spend(long steps)
    {
        _steps -= steps;
        if (_steps < 0)
            throw new TemplateFaultException("the template runs for too long.");
    }

    /// <summary>Counts the work of going through text.</summary>
    public void SpendOnText(int characters) => Spend(1 + characters / CharactersPerStep);

    /// <exception cref="TemplateFaultException">A text longer than the messages can account for.</exception>
    public void RequireLength(long characters)
    {
        if (characters > _longestText)
            throw new TemplateFaultException($"the template makes a text of more than {_longestText} characters.");
    }
}
