namespace KvPrune.ModelBuilder;

/// <summary>Writes a folder beside its final place and moves it there when it is complete.</summary>
internal static class OutputFolder
{
    private const string Graph = "model.onnx";

    // All that this program ever writes, the graph first: without it a folder is no model, so that a program which reads the
    // folder halfway says so instead of mixing two models.
    private static readonly string[] ModelFiles =
    [
        Graph, "model.onnx.data", "genai_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "chat_template.jinja",
    ];

    /// <summary>Where a build to this folder keeps what it has so far.</summary>
    public static string PartialFolder(string folder)
    {
        var target = Path.GetFullPath(folder);
        var parent = Path.GetDirectoryName(target) ?? throw new IOException($"{target} cannot be a model folder.");
        // In the same parent, so that moving is renaming.
        return Path.Combine(parent, $".{Path.GetFileName(target)}.partial");
    }

    /// <summary>
    /// Lets <paramref name="write"/> fill the partial folder, then makes its files the ones of <paramref name="folder"/>. A folder
    /// that holds something already is refused, unless <paramref name="overwrite"/>: then the files of the model that was there are
    /// removed, and files of other names stay. A write that fails leaves the partial folder if its journal lists anything; the next
    /// one of the same <paramref name="build"/> goes on from there.
    /// </summary>
    /// <param name="folder">The folder to write.</param>
    /// <param name="overwrite">Whether a folder that is not empty may be written.</param>
    /// <param name="build">One line that says what is being built: the same line, the same files.</param>
    /// <param name="write">Fills the folder named; the journal says what is there already.</param>
    /// <exception cref="IOException">The folder is not empty, is being written, or a file cannot be written.</exception>
    public static void Write(string folder, bool overwrite, string build, Action<string, BuildJournal> write)
    {
        var target = Path.GetFullPath(folder);
        if (File.Exists(target))
            throw new IOException($"{target} is a file, not a folder.");
        var inUse = Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any();
        if (inUse && !overwrite)
            throw new IOException($"The folder {target} is not empty; name another one or allow overwriting.");

        var partial = PartialFolder(target);
        using (var journal = BuildJournal.Open(partial, build))
        {
            try
            {
                write(partial, journal);
                journal.Delete();
            }
            catch when (journal.Written.Count == 0)
            {
                journal.Dispose();
                Directory.Delete(partial, recursive: true);
                throw;
            }
        }

        if (!inUse)
        {
            if (Directory.Exists(target))
                Directory.Delete(target);
            Directory.Move(partial, target);
            return;
        }

        try
        {
            foreach (var file in ModelFiles)
                File.Delete(Path.Combine(target, file));
            foreach (var file in Directory.GetFiles(partial).OrderBy(f => Path.GetFileName(f) == Graph))
                File.Move(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        }
        finally
        {
            Directory.Delete(partial, recursive: true);
        }
    }
}
