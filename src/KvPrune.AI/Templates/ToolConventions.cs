using KvPrune.AI.Templates.Jinja;

namespace KvPrune.AI.Templates;

/// <summary>What a template makes of tools.</summary>
/// <param name="Template">The file that holds the template.</param>
/// <param name="Placement">Where it looks for them.</param>
/// <param name="CallFormat">How the model writes calls; null if the template does not tell.</param>
/// <param name="ReadsToolCalls">Whether it writes the calls of earlier answers itself.</param>
internal sealed record ToolConventions(
    string Template, ToolPlacement Placement, ToolCallFormat? CallFormat, bool ReadsToolCalls)
{
    /// <summary>Whether calls and results of earlier turns can be told to the model.</summary>
    public bool TakesCalls => ReadsToolCalls || WritesCallsAsText;

    /// <summary>
    /// Whether calls have to be part of an answer's text, because the template writes answers as they are (Phi-4-mini,
    /// SmolLM3).
    /// </summary>
    public bool WritesCallsAsText => !ReadsToolCalls && Placement != ToolPlacement.None && CallFormat?.Closing is not null;

    /// <summary>The role of results. A template that only puts roles between marks is told the mark there is.</summary>
    public string ToolRole => WritesCallsAsText && Placement == ToolPlacement.SystemMessage ? "tool_response" : "tool";

    public static ToolConventions Of(ParsedTemplate template) => new(
        template.Source.File,
        template.Names.Overlaps(["tools", "xml_tools"]) ? ToolPlacement.Variable
            : template.Attributes.Contains("tools") ? ToolPlacement.SystemMessage
            : ToolPlacement.None,
        ToolCallFormat.Find(template.Source.Text),
        template.Source.Text.Contains("tool_calls", StringComparison.Ordinal));
}
