namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Bounds that no chat template comes near, so that a hostile one can neither exhaust the stack while it is read nor
/// hang or fill the memory while it renders.
/// </summary>
internal static class TemplateLimits
{
    /// <summary>Tokens between the ends of one tag; bounds chains of operators, which nest to the left.</summary>
    public const int TokensPerTag = 1000;

    /// <summary>Blocks within blocks.</summary>
    public const int BlockNesting = 40;

    /// <summary>Brackets, signs and negations within one expression.</summary>
    public const int ExpressionNesting = 60;

    /// <summary>Lists and mappings within each other, made while rendering or in tool schemas.</summary>
    public const int ValueNesting = 60;

    /// <summary>Macros that call each other; deeper than a schema can be nested.</summary>
    public const int MacroNesting = 200;

    /// <summary>Items of a range, as the sandbox of Jinja limits them.</summary>
    public const int RangeItems = 100_000;
}
