using System.Globalization;
using System.Text;

namespace KvPrune.ModelBuilder;

/// <summary>
/// The list of tensors that a build has safely on disk: a text file beside the data, from which a build that was cut off goes on.
/// Its first line says what is being built; each other line is one tensor: offset, length, name. A last line without its end is
/// one that was cut off itself and does not count.
/// </summary>
internal sealed class BuildJournal : IDisposable
{
    private const string FileName = "build.journal";

    private readonly FileStream _stream;
    private readonly Dictionary<string, (long Offset, long Length)> _written;

    private BuildJournal(FileStream stream, Dictionary<string, (long Offset, long Length)> written) => (_stream, _written) = (stream, written);

    /// <summary>The tensors on disk.</summary>
    public IReadOnlyDictionary<string, (long Offset, long Length)> Written => _written;

    /// <summary>
    /// Opens the folder's journal. One of another build, or none, leads to an empty journal, and the folder's other files are removed.
    /// </summary>
    /// <exception cref="IOException">Another process is writing this folder.</exception>
    public static BuildJournal Open(string folder, string build)
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, FileName);
        FileStream stream;
        try
        {
            // No sharing: the open file is the lock on the folder.
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new IOException($"{folder} cannot be locked; another build may be writing it: {e.Message}", e);
        }

        try
        {
            var text = new byte[stream.Length];
            stream.ReadExactly(text);
            if (Parse(Encoding.UTF8.GetString(text), build) is { } written)
                return new BuildJournal(stream, written);

            foreach (var file in Directory.GetFiles(folder).Where(f => f != path))
                File.Delete(file);
            stream.SetLength(0);
            stream.Write(Encoding.UTF8.GetBytes(build + "\n"));
            stream.Flush();
            return new BuildJournal(stream, []);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Adds tensors whose data has reached the disk.</summary>
    public void Add(IEnumerable<(string Name, long Offset, long Length)> tensors)
    {
        var text = new StringBuilder();
        foreach (var (name, offset, length) in tensors)
        {
            text.Append(CultureInfo.InvariantCulture, $"{offset} {length} {name}\n");
            _written[name] = (offset, length);
        }

        _stream.Write(Encoding.UTF8.GetBytes(text.ToString()));
        _stream.Flush(flushToDisk: true);
    }

    /// <summary>Removes the journal of a build that is complete.</summary>
    public void Delete()
    {
        _stream.Dispose();
        File.Delete(_stream.Name);
    }

    public void Dispose() => _stream.Dispose();

    private static Dictionary<string, (long Offset, long Length)>? Parse(string text, string build)
    {
        var lines = text.Split('\n');
        if (lines.Length < 2 || lines[0] != build)
            return null;
        var written = new Dictionary<string, (long, long)>(StringComparer.Ordinal);
        foreach (var line in lines[1..^1])
        {
            var parts = line.Split(' ', 3);
            if (parts.Length < 3
                || !long.TryParse(parts[0], CultureInfo.InvariantCulture, out var offset)
                || !long.TryParse(parts[1], CultureInfo.InvariantCulture, out var length)
                || offset < 0 || length < 0)
                return null;
            written[parts[2]] = (offset, length);
        }

        return written;
    }
}
