namespace KvPrune.ModelBuilder;

/// <summary>A source file is missing, broken or describes a model that this builder cannot translate.</summary>
public sealed class ModelSourceException : Exception
{
    /// <summary>Creates the exception; the message names the file, the entry and the problem.</summary>
    public ModelSourceException(string file, string? entry, string problem, Exception? inner = null)
        : base(entry is null ? $"{file}: {problem}" : $"{file}: {entry}: {problem}", inner)
    {
        File = file;
        Entry = entry;
    }

    /// <summary>Path of the file at fault.</summary>
    public string File { get; }

    /// <summary>The entry at fault: a JSON property or a tensor; null when the file as a whole is.</summary>
    public string? Entry { get; }
}
