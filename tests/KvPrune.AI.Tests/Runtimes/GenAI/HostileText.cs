using KvPrune.AI.Tests.Tokenization;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>What a user might type to have it taken for a control token.</summary>
internal static class HostileText
{
    /// <summary>Whole special tokens, halves of them at the ends, other text, and white space for trim to take.</summary>
    public static string Create(TextGenerator generator, IReadOnlyList<string> special)
    {
        var parts = new List<string>();
        for (int i = generator.Next(5); i >= 0; i--)
        {
            string token = generator.Pick(special);
            int cut = generator.Next(token.Length + 1);
            parts.Add(generator.Pick([token, token[..cut], token[cut..], token[..cut] + token, " ", "\n", generator.Line(), "<|", "|>", "<", ">"]));
        }
        return string.Concat(parts);
    }
}
