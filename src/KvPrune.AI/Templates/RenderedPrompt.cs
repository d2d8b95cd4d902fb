namespace KvPrune.AI.Templates;

/// <summary>A prompt that a chat template wrote.</summary>
/// <param name="Text">The whole prompt.</param>
/// <param name="UntrustedSpans">
/// The parts of <paramref name="Text"/> (in UTF-16 code units) that came from messages and tools, whatever the template
/// did to them. A special token that touches one of them is ordinary text. The runtime GenAI renders conversations without
/// tools by itself and reports less: one character in each place of a message that holds an added token or part of one.
/// </param>
public sealed record RenderedPrompt(string Text, IReadOnlyList<Range> UntrustedSpans);
