namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Text as GenAI's C API can take it.</summary>
internal static class GenAIText
{
    /// <summary>
    /// Unpaired surrogates, which UTF-8 has not, and U+0000, which would end a C string, become U+FFFD: places stay where
    /// they are.
    /// </summary>
    public static string Clean(string text)
    {
        char[]? cleaned = null;
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1])) i++;
            else if (c == '\0' || char.IsSurrogate(c)) (cleaned ??= text.ToCharArray())[i] = '\uFFFD';
        }
        return cleaned is null ? text : new string(cleaned);
    }
}
