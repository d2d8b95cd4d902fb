using KvPrune.AI;

namespace LongDocumentChat;

/// <summary>What the command line asks for.</summary>
/// <param name="DocumentFile">The user's own document; null: the bundled one.</param>
/// <param name="Questions">Questions to ask; none: the bundled ones, or those that the user types.</param>
/// <param name="ModelFolder">Folder in ONNX Runtime GenAI's format.</param>
/// <param name="PolicyName">Name of a pruning preset.</param>
/// <param name="Runtime">What runs the model.</param>
/// <param name="GenAIFolder">Folder of GenAI's native library; null: where its package puts it.</param>
/// <param name="Json">Print the comparison as JSON only.</param>
internal sealed record ApplicationOptions(
    string? DocumentFile, IReadOnlyList<string> Questions, string ModelFolder, string PolicyName,
    DecoderRuntimeKind Runtime, string? GenAIFolder, bool Json);
