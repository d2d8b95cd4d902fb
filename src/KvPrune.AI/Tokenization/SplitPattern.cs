using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>The regular expressions that text is cut at.</summary>
internal static partial class SplitPattern
{
    // Compiled for a pattern that a file brings: every prompt goes through it.
    // Translation refuses what takes exponential time; what takes quadratic time shows only in a long text.
    private static readonly TimeSpan MatchTimeout = TimeSpan.FromSeconds(10);

    private const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.Compiled;

    /// <summary>The one of the pre-tokenizer "ByteLevel" itself.</summary>
    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    public static partial Regex Gpt2 { get; }

    /// <summary>A number of one digit, for the pre-tokenizer "Digits".</summary>
    [GeneratedRegex(@"\p{N}", RegexOptions.CultureInvariant)]
    public static partial Regex Digit { get; }

    /// <summary>A number, for the pre-tokenizer "Digits".</summary>
    [GeneratedRegex(@"\p{N}+", RegexOptions.CultureInvariant)]
    public static partial Regex Digits { get; }

    /// <summary>A text as it stands.</summary>
    /// <param name="text">Of characters in the basic plane, none of which is <see cref="PieceSplitter.IsStandIn"/>.</param>
    public static Regex Literal(string text) => new(Regex.Escape(text), RegexOptions.CultureInvariant);

    /// <summary>A pattern as Hugging Face's tokenizers read it. A match that takes 10 s times out.</summary>
    /// <exception cref="FormatException">A construct that is not supported; says which.</exception>
    public static Regex Translate(string pattern) => new(new SplitPatternTranslator(pattern).Translate(), Options, MatchTimeout);
}
