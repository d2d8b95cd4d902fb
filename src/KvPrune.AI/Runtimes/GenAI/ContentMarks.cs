using System.Text;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Marks where message contents could bring added tokens into a prompt: one character, which occurs nowhere else, goes
/// into each place before the template is rendered, and tells afterwards where the place has come to stand.
/// </summary>
internal sealed class ContentMarks(AddedTokenFinder finder)
{
    private const char FirstPrivateUse = '\uE000';
    private const char LastPrivateUse = '\uF8FF';

    /// <summary>A private-use character that none of the texts has.</summary>
    /// <exception cref="NotSupportedException">They have all of them.</exception>
    public static char Choose(IEnumerable<string> texts)
    {
        var used = texts.SelectMany(text => text).Where(c => c is >= FirstPrivateUse and <= LastPrivateUse).ToHashSet();
        for (char mark = FirstPrivateUse; mark <= LastPrivateUse; mark++)
        {
            if (!used.Contains(mark)) return mark;
        }
        throw new NotSupportedException("The messages use every private-use character; one is needed to keep what they say apart from the template.");
    }

    /// <summary>
    /// The content with a mark inside every added token, and one where it begins or ends with a part of one, which the
    /// template could complete; the content itself if there is nothing of this.
    /// </summary>
    /// <remarks>
    /// A mark never comes before or after everything else than white space, so that templates that trim do as without it.
    /// </remarks>
    public string Insert(string content, char mark)
    {
        var places = new SortedSet<int>(finder.Find(content, 0, content.Length).Select(found => EndOfRune(content, found.Start)));
        int start = content.Length - content.AsSpan().TrimStart().Length;
        int end = content.AsSpan().TrimEnd().Length;
        if (start < end)
        {
            ReadOnlySpan<char> text = content.AsSpan(start, end - start);
            if (finder.BeginsWithPart(text)) places.Add(EndOfRune(content, start));
            if (finder.EndsWithPart(text)) places.Add(end);
        }
        if (places.Count == 0) return content;
        var marked = new StringBuilder(content.Length + places.Count);
        int from = 0;
        foreach (int place in places)
        {
            marked.Append(content, from, place - from).Append(mark);
            from = place;
        }
        return marked.Append(content, from, content.Length - from).ToString();
    }

    /// <summary>The prompt without its marks; what stood before each of them is a content's.</summary>
    public static RenderedPrompt Remove(string marked, char mark)
    {
        var text = new StringBuilder(marked.Length);
        List<Range> untrusted = [];
        foreach (char c in marked)
        {
            if (c != mark) text.Append(c);
            else if (text.Length > 0) untrusted.Add((text.Length - 1)..text.Length);
        }
        return new RenderedPrompt(text.ToString(), untrusted);
    }

    private static int EndOfRune(string text, int start) =>
        start + (char.IsHighSurrogate(text[start]) && start + 1 < text.Length && char.IsLowSurrogate(text[start + 1]) ? 2 : 1);
}
