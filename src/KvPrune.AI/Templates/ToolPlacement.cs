namespace KvPrune.AI.Templates;

/// <summary>Where a template looks for tools.</summary>
internal enum ToolPlacement
{
    /// <summary>It does not.</summary>
    None,

    /// <summary>In a variable: a list of JSON schemas of functions.</summary>
    Variable,

    /// <summary>In the entry "tools" of the system message, as JSON text (Phi-4-mini).</summary>
    SystemMessage,
}
