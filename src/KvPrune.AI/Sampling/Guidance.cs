namespace KvPrune.AI.Sampling;

/// <summary>A grammar that an answer has to follow: only tokens that can still lead to a text of it are drawn.</summary>
public sealed record Guidance
{
    internal const string JsonSchemaKind = "json_schema";

    private Guidance(string kind, string grammar)
    {
        ArgumentException.ThrowIfNullOrEmpty(grammar);
        Kind = kind;
        Grammar = grammar;
    }

    /// <summary>GenAI's name of the notation: json_schema, regex or lark_grammar.</summary>
    public string Kind { get; }

    /// <summary>The grammar in that notation.</summary>
    public string Grammar { get; }

    /// <summary>JSON that fits a schema.</summary>
    public static Guidance JsonSchema(string schema) => new(JsonSchemaKind, schema);

    /// <summary>Text that a regular expression matches from beginning to end (Rust's syntax, without look-around).</summary>
    public static Guidance Regex(string pattern) => new("regex", pattern);

    /// <summary>Text of a context-free grammar in Lark's notation; its start rule is called start.</summary>
    public static Guidance Lark(string grammar) => new("lark_grammar", grammar);
}
