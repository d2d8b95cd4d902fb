using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// The regular expressions that cut text into the pieces BPE merges within. Only these are accepted: each covers every
/// character, and .NET reads it as the regex engine of Hugging Face tokenizers does, which is not so for patterns in
/// general (anchors, possessive quantifiers, POSIX classes).
/// </summary>
internal static partial class SplitPattern
{
    private const string Gpt2Pattern =
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The one of the pre-tokenizer "ByteLevel" itself.</summary>
    [GeneratedRegex(Gpt2Pattern, RegexOptions.CultureInvariant)]
    public static partial Regex Gpt2 { get; }

    [GeneratedRegex(Llama3Pattern, RegexOptions.CultureInvariant)]
    private static partial Regex Llama3 { get; }

    /// <summary>
    /// The compiled form of a pattern of the pre-tokenizer "Split"; null when it is none of the known ones.
    /// </summary>
    public static Regex? Find(string pattern) => pattern switch
    {
        Gpt2Pattern => Gpt2,
        Llama3Pattern => Llama3,
        _ => null,
    };
}
