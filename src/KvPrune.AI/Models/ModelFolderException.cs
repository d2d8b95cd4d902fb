namespace KvPrune.AI.Models;

/// <summary>A model folder that is incomplete, broken or contradicts itself; the message names file and entry.</summary>
public sealed class ModelFolderException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="file">The file or folder.</param>
    /// <param name="entry">Where in the file, for example <c>model.decoder.filename</c>; null when all of it is meant.</param>
    /// <param name="problem">What is wrong.</param>
    /// <param name="innerException">The cause.</param>
    public ModelFolderException(string file, string? entry, string problem, Exception? innerException = null)
        : base(entry is null ? $"{file}: {problem}" : $"{file}, entry {entry}: {problem}", innerException)
    {
        File = file;
        Entry = entry;
    }

    /// <summary>The file or folder.</summary>
    public string File { get; }

    /// <summary>Where in the file; null when all of it is meant.</summary>
    public string? Entry { get; }
}
