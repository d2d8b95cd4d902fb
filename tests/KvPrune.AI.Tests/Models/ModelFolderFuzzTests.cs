using System.Diagnostics;
using System.Globalization;
using KvPrune.AI.Models;
using KvPrune.ModelBuilder;

namespace KvPrune.AI.Tests.Models;

/// <summary>
/// Whatever is done to the bytes of a model folder's files: an inspection, which reads them all as loading does, ends soon
/// and says what is wrong.
/// </summary>
/// <remarks>
/// A second per file unless KVPRUNE_FOLDER_FUZZ_SECONDS names more. Ten minutes in all:
/// <c>KVPRUNE_FOLDER_FUZZ_SECONDS=300 dotnet tests/KvPrune.AI.Tests/bin/Release/net10.0/KvPrune.AI.Tests.dll
/// --filter-class "*ModelFolderFuzzTests"</c>. A failure names its seed.
/// </remarks>
public sealed class ModelFolderFuzzTests : IDisposable
{
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(10);

    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-fuzz-").FullName;

    [Theory]
    [InlineData("genai_config.json", AttentionLayout.Packed)]
    [InlineData("model.onnx", AttentionLayout.Packed)]
    [InlineData("model.onnx", AttentionLayout.MultiHead)]
    public void Damaged_folders_are_described(string file, AttentionLayout attention)
    {
        string folder = Path.Combine(_folder, attention.ToString());
        ModelShape shape = ModelShapes.Tiny;
        if (attention == AttentionLayout.MultiHead) shape = shape.WithHeads(2, 2, 16);
        RandomModel.Build(folder, shape, seed: 1, new BuildOptions { Attention = attention });
        Assert.Empty(KvPruneModel.Inspect(folder).Obstacles);
        byte[] original = File.ReadAllBytes(Path.Combine(folder, file));
        var limit = TimeSpan.FromSeconds(int.Parse(
            Environment.GetEnvironmentVariable("KVPRUNE_FOLDER_FUZZ_SECONDS") ?? "1", CultureInfo.InvariantCulture));
        int refused = 0, seed = 0;
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < limit; seed++)
        {
            File.WriteAllBytes(Path.Combine(folder, file), Damage(original, new Random(seed)));
            TimeSpan start = clock.Elapsed;
            try
            {
                ModelInspection inspection = KvPruneModel.Inspect(folder);
                if (inspection.Obstacles.Count > 0) refused++;
            }
            catch (Exception error)
            {
                Assert.Fail($"Seed {seed}: {error}");
            }
            Assert.True(clock.Elapsed - start < Longest, $"Seed {seed} took {clock.Elapsed - start}.");
        }
        Assert.InRange(refused, 1, seed - 1); // some damage matters, some does not
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static byte[] Damage(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        for (int edits = random.Next(1, 4); edits > 0 && bytes.Count > 1; edits--)
        {
            int at = random.Next(bytes.Count);
            int length = Math.Min(random.Next(1, 40), bytes.Count - at);
            switch (random.Next(5))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2: bytes.RemoveRange(at, length); break;
                case 3: bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, length)); break;
                default: bytes[at] = (byte)"0123456789-\"{}[],:nul"[random.Next(21)]; break;
            }
        }
        return [.. bytes];
    }
}
