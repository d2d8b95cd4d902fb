namespace KvPrune.AI.Templates;

/// <summary>How models of a family write the calls they make. The template tells the family by the marks it mentions.</summary>
/// <param name="Opening">What a call, or a list of them, begins with.</param>
/// <param name="Closing">What it ends with; null where it goes on to the end of the answer.</param>
/// <param name="IsList">Whether all calls stand in one list.</param>
/// <param name="IsOptional">Whether an answer that begins with a JSON object may be a call without the opening.</param>
internal sealed record ToolCallFormat(string Opening, string? Closing, bool IsList = false, bool IsOptional = false)
{
    /// <summary>Qwen and Hermes: <c>&lt;tool_call&gt;{"name": …, "arguments": …}&lt;/tool_call&gt;</c> for every call.</summary>
    public static readonly ToolCallFormat Tagged = new("<tool_call>", "</tool_call>");

    /// <summary>Mistral: <c>[TOOL_CALLS] [{"name": …, "arguments": …}]</c>.</summary>
    public static readonly ToolCallFormat Mistral = new("[TOOL_CALLS]", null, IsList: true);

    /// <summary>Phi-4-mini: <c>&lt;|tool_call|&gt;[{"name": …, "arguments": …}]&lt;|/tool_call|&gt;</c>.</summary>
    public static readonly ToolCallFormat Phi = new("<|tool_call|>", "<|/tool_call|>", IsList: true);

    /// <summary>Llama 3: <c>{"name": …, "parameters": …}</c> as the whole answer, several with ";" between them.</summary>
    public static readonly ToolCallFormat Llama = new("<|python_tag|>", null, IsOptional: true);

    /// <summary>The format that a template speaks of; null if it is none of these.</summary>
    public static ToolCallFormat? Find(string template)
    {
        bool Mentions(string mark) => template.Contains(mark, StringComparison.Ordinal);
        // These begin calls with the same marks and go on without JSON: Qwen3-Coder, GLM, Mistral's later models.
        if (Mentions("<function=") || Mentions("<arg_key>") || Mentions("[ARGS]")) return null;
        return Mentions(Tagged.Opening) ? Tagged
            : Mentions(Mistral.Opening) ? Mistral
            : Mentions(Phi.Opening) || Mentions("<|/tool|>") ? Phi
            : Mentions(Llama.Opening) || (Mentions("\"parameters\":") && Mentions("<|eot_id|>")) ? Llama
            : null;
    }
}
