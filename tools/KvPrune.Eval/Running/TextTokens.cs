using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Running;

/// <summary>A natural text as tokens, from which prefixes with their continuations are cut.</summary>
internal sealed class TextTokens(PromptEncoder prompts, SourceText text, int seed)
{
    private readonly int? _first = prompts.FirstToken();
    private readonly Lazy<int[]> _tokens = new(() => prompts.EncodeText(text.Text));

    /// <summary>A prefix, as a prompt begins, and the tokens that follow it, from a place that task, length and index determine.</summary>
    /// <exception cref="ArgumentException">The text is shorter.</exception>
    public (int[] Prefix, int[] Following) Cut(string task, int length, int index, int following)
    {
        int[] tokens = _tokens.Value;
        int prefix = _first is null ? length : length - 1;
        if (tokens.Length < prefix + following)
            throw new ArgumentException($"The text has {tokens.Length} tokens, and {prefix + following} are needed.");
        int start = new Random(Seeds.Of(seed, task, length, index)).Next(tokens.Length - prefix - following + 1);
        int[] before = tokens[start..(start + prefix)];
        return (_first is { } first ? [first, .. before] : before, tokens[(start + prefix)..(start + prefix + following)]);
    }
}
