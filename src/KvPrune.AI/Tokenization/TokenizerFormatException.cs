namespace KvPrune.AI.Tokenization;

/// <summary>A tokenizer file that cannot be read, contradicts itself or describes an unsupported tokenizer.</summary>
public sealed class TokenizerFormatException : Exception
{
    /// <summary>Creates the exception; its message leads with the file and the entry.</summary>
    public TokenizerFormatException(string file, string entry, string problem, Exception? innerException = null)
        : base(entry.Length == 0 ? $"{file}: {problem}" : $"{file}, {entry}: {problem}", innerException)
    {
        File = file;
        Entry = entry;
        Problem = problem;
    }

    /// <summary>The file.</summary>
    public string File { get; }

    /// <summary>Where in the file, for example <c>model.merges[17]</c>; empty when the whole file is meant.</summary>
    public string Entry { get; }

    /// <summary>The message without file and entry.</summary>
    public string Problem { get; }
}
