namespace KvPrune.ModelBuilder.Tests;

public sealed class OutputFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Target => _folder["deep/model"];

    [Fact]
    public void Makes_the_folder_and_its_parents()
    {
        OutputFolder.Write(Target, overwrite: false, "build", Fill);

        Assert.Equal("new", File.ReadAllText(Path.Combine(Target, "file")));
        Assert.Single(Directory.GetFileSystemEntries(_folder["deep"]));
    }

    [Fact]
    public void Takes_an_empty_folder_and_refuses_a_full_one()
    {
        Directory.CreateDirectory(Target);
        OutputFolder.Write(Target, overwrite: false, "build", Fill);

        var error = Assert.Throws<IOException>(() => OutputFolder.Write(Target, overwrite: false, "build", (_, _) => Assert.Fail("Nothing may be built.")));

        Assert.Contains(Target, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Overwriting_replaces_files_of_the_same_name_only()
    {
        Directory.CreateDirectory(Target);
        File.WriteAllText(Path.Combine(Target, "file"), "old");
        File.WriteAllText(Path.Combine(Target, "README.md"), "kept");

        OutputFolder.Write(Target, overwrite: true, "build", Fill);

        Assert.Equal("new", File.ReadAllText(Path.Combine(Target, "file")));
        Assert.Equal("kept", File.ReadAllText(Path.Combine(Target, "README.md")));
        Assert.Single(Directory.GetFileSystemEntries(_folder["deep"]));
    }

    [Fact]
    public void Overwriting_removes_the_files_of_the_model_that_was_there()
    {
        Directory.CreateDirectory(Target);
        foreach (var file in (string[])["model.onnx", "model.onnx.data", "chat_template.jinja", "special_tokens_map.json", "notes.txt"])
            File.WriteAllText(Path.Combine(Target, file), "old");

        OutputFolder.Write(Target, overwrite: true, "build", Fill);

        Assert.Equal(["file", "notes.txt"], Directory.GetFiles(Target).Select(Path.GetFileName).Order());
    }

    // Whatever is interrupted on the way must not leave a graph beside weights or a tokenizer of another model.
    [Fact]
    public void The_graph_goes_first_and_comes_last()
    {
        Directory.CreateDirectory(Path.Combine(Target, "tokenizer.json", "in the way"));
        File.WriteAllText(Path.Combine(Target, "model.onnx"), "old");

        var error = Record.Exception(() => OutputFolder.Write(Target, overwrite: true, "build", (folder, _) =>
        {
            foreach (var file in (string[])["model.onnx", "model.onnx.data", "tokenizer.json"])
                File.WriteAllText(Path.Combine(folder, file), "new");
        }));

        Assert.True(error is IOException or UnauthorizedAccessException, error?.ToString());
        Assert.False(File.Exists(Path.Combine(Target, "model.onnx")));
        Assert.Single(Directory.GetFileSystemEntries(_folder["deep"]));
    }

    [Fact]
    public void A_failure_leaves_the_old_files_and_nothing_new()
    {
        OutputFolder.Write(Target, overwrite: false, "build", Fill);

        Assert.Throws<InvalidOperationException>(() => OutputFolder.Write(Target, overwrite: true, "build", (folder, _) =>
        {
            File.WriteAllText(Path.Combine(folder, "file"), "half");
            throw new InvalidOperationException();
        }));

        Assert.Equal("new", File.ReadAllText(Path.Combine(Target, "file")));
        Assert.Single(Directory.GetFileSystemEntries(_folder["deep"]));
    }

    [Fact]
    public void Refuses_a_file_as_the_folder()
    {
        File.WriteAllText(_folder["file"], "");

        Assert.Throws<IOException>(() => OutputFolder.Write(_folder["file"], overwrite: true, "build", Fill));
    }

    private static void Fill(string folder, BuildJournal journal) => File.WriteAllText(Path.Combine(folder, "file"), "new");

    public void Dispose() => _folder.Dispose();
}
