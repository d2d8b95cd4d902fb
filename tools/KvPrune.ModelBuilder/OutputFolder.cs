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

    /// <summary>
    /// Lets <paramref name="write"/> fill a temporary folder, then makes its files the ones of <paramref name="folder"/>. A folder
    /// that holds something already is refused, unless <paramref name="overwrite"/>: then the files of the model that was there are
    /// removed, and files of other names stay.
    /// </summary>
    /// <exception cref="IOException">The folder is not empty, or a file cannot be written.</exception>
    public static void Write(string folder, bool overwrite, Action<string> write)
    {
        var target = Path.GetFullPath(folder);
        if (File.Exists(target))
            throw new IOException($"{target} is a file, not a folder.");
        var inUse = Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any();
        if (inUse && !overwrite)
            throw new IOException($"The folder {target} is not empty; name another one or allow overwriting.");

        var parent = Path.GetDirectoryName(target) ?? throw new IOException($"{target} cannot be a model folder.");
        Directory.CreateDirectory(parent);
        // In the same parent, so that moving is renaming.
        var temporary = Path.Combine(parent, $".{Path.GetFileName(target)}.{Guid.NewGuid():N}");
        Directory.CreateDirectory(temporary);
        try
        {
            write(temporary);
            if (!inUse)
            {
                if (Directory.Exists(target))
                    Directory.Delete(target);
                Directory.Move(temporary, target);
                return;
            }

            foreach (var file in ModelFiles)
                File.Delete(Path.Combine(target, file));
            foreach (var file in Directory.GetFiles(temporary).OrderBy(f => Path.GetFileName(f) == Graph))
                File.Move(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        }
        finally
        {
            if (Directory.Exists(temporary))
                Directory.Delete(temporary, recursive: true);
        }
    }
}
