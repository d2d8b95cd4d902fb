using System.Buffers;
using System.Text;

namespace KvPrune.AI.Sampling;

/// <summary>A grammar that an answer has to follow: only tokens that can still lead to a text of it are drawn.</summary>
public sealed record Guidance
{
    internal const string JsonSchemaKind = "json_schema";
    internal const string RegexKind = "regex";
    internal const string LarkKind = "lark_grammar";

    private Guidance(string kind, string grammar)
    {
        ArgumentException.ThrowIfNullOrEmpty(grammar);
        // It goes as a C string of UTF-8 to the grammar engine, which would see the text before a U+0000 only.
        if (grammar.Contains('\0', StringComparison.Ordinal)) throw new ArgumentException("A grammar cannot hold U+0000.", nameof(grammar));
        if (HasUnpairedSurrogate(grammar)) throw new ArgumentException("A grammar cannot hold half of a surrogate pair.", nameof(grammar));
        Kind = kind;
        Grammar = grammar;
    }

    /// <summary>GenAI's name of the notation: json_schema, regex or lark_grammar.</summary>
    public string Kind { get; }

    /// <summary>The grammar in that notation.</summary>
    public string Grammar { get; }

    /// <summary>JSON that fits a schema.</summary>
    /// <exception cref="ArgumentException"><paramref name="schema"/> is empty, or holds U+0000 or half of a surrogate pair.</exception>
    public static Guidance JsonSchema(string schema) => new(JsonSchemaKind, schema);

    /// <summary>Text that a regular expression matches from beginning to end (Rust's syntax, without look-around).</summary>
    /// <exception cref="ArgumentException"><paramref name="pattern"/> is empty, or holds U+0000 or half of a surrogate pair.</exception>
    public static Guidance Regex(string pattern) => new(RegexKind, pattern);

    /// <summary>Text of a context-free grammar in Lark's notation; its start rule is called start.</summary>
    /// <exception cref="ArgumentException"><paramref name="grammar"/> is empty, or holds U+0000 or half of a surrogate pair.</exception>
    public static Guidance Lark(string grammar) => new(LarkKind, grammar);

    private static bool HasUnpairedSurrogate(string text)
    {
        ReadOnlySpan<char> rest = text;
        while (!rest.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(rest, out _, out int length) != OperationStatus.Done) return true;
            rest = rest[length..];
        }
        return false;
    }
}
