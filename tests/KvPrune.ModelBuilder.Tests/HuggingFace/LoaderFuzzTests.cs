using System.Diagnostics;
using System.Text;
using KvPrune.ModelBuilder.HuggingFace;
using KvPrune.ModelBuilder.Tests.Onnx;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

/// <summary>
/// Whatever is done to the bytes of a checkpoint's files: the loaders either read every tensor or throw the typed exception, soon.
/// </summary>
/// <remarks>
/// A second per file unless KVPRUNE_FUZZ_SECONDS names more. Ten minutes in all:
/// <c>KVPRUNE_FUZZ_SECONDS=150 dotnet tests/KvPrune.ModelBuilder.Tests/bin/Release/net10.0/KvPrune.ModelBuilder.Tests.dll
/// --filter-class "*LoaderFuzzTests"</c>. A failure prints its seed; KVPRUNE_FUZZ_SEED repeats it.
/// </remarks>
public sealed class LoaderFuzzTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";
    private const string Shard = "model-00001-of-00002.safetensors";
    private const string Generation = "generation_config.json";

    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(10);

    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("config.json")]
    [InlineData(Generation)]
    [InlineData(Index)]
    [InlineData(Shard)]
    public void Damaged_files_are_read_or_refused_by_the_typed_exception(string file)
    {
        var time = TimeSpan.FromSeconds(int.Parse(Environment.GetEnvironmentVariable("KVPRUNE_FUZZ_SECONDS") ?? "1"));
        var seed = Environment.GetEnvironmentVariable("KVPRUNE_FUZZ_SEED") is { } text ? int.Parse(text) : (int?)null;
        var corpus = WriteCorpus(file);
        int read = 0, refused = 0;
        var clock = Stopwatch.StartNew();
        for (var round = seed ?? 0; seed is null ? round < 200 || clock.Elapsed < time : round == seed; round++)
        {
            var mutation = new Mutation(round);
            var (folder, original) = corpus[round % corpus.Count];
            var path = Path.Combine(folder, file);
            var bytes = mutation.Apply(original, corpus[mutation.Next(corpus.Count)].Bytes, file == Shard);
            File.WriteAllBytes(path, bytes);
            var start = clock.Elapsed;
            try
            {
                ReadAll(folder);
                read++;
            }
            catch (ModelSourceException e)
            {
                Assert.StartsWith(folder, e.File, StringComparison.Ordinal);
                refused++;
            }
            catch (Exception e)
            {
                Assert.Fail($"Seed {round}: {e}\n{Encoding.Latin1.GetString(bytes)}");
            }

            Assert.True(clock.Elapsed - start < Longest, $"Seed {round} took {clock.Elapsed - start}.");
            File.WriteAllBytes(path, original);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{file}: {read} read, {refused} refused.");
        Assert.True(seed is not null || (read > 0 && refused > 20), $"The damage was one-sided: {read} read, {refused} refused.");
    }

    private List<(string Folder, byte[] Bytes)> WriteCorpus(string file)
    {
        var corpus = new List<(string, byte[])>();
        foreach (var (number, variant) in Variant.All.Values.Index())
        {
            var folder = _folder[$"{number}"];
            // The weights are small: what is damaged is what describes them.
            Checkpoint.WriteSharded(folder, Small(variant.Shape), seed: 1, "BF16", "F32");
            File.WriteAllText(
                Path.Combine(folder, Generation),
                """{"eos_token_id":[299,295],"bos_token_id":1,"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.9,"repetition_penalty":1.1}""");
            corpus.Add((folder, File.ReadAllBytes(Path.Combine(folder, file))));
        }

        return corpus;
    }

    private static ModelShape Small(ModelShape shape) => shape with { Vocabulary = 300, Hidden = 8, Intermediate = 4 };

    private static void ReadAll(string folder)
    {
        var shape = ModelConfig.Load(folder).Shape;
        using var weights = CheckpointWeights.Open(folder, shape);
        foreach (var (name, dimensions) in ModelTensors.All(shape))
            weights.Read(name, dimensions);
        Assert.NotEmpty(weights.Fingerprint());
    }

    public void Dispose() => _folder.Dispose();

    /// <summary>One way of damaging a file, made from its number.</summary>
    private sealed class Mutation(int seed)
    {
        private static readonly string[] Values =
        [
            "0", "-1", "1", "2147483647", "2147483648", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "1e308", "1e999",
            "-0.0", "1e-320", "0.5", "null", "true", "false", "\"\"", "\"\\ud800\"", "[]", "{}", "[[]]", "\"default\"", "\"longrope\"", "\"BF16\"", "\"F64\"",
        ];

        private readonly Random _random = new(seed);

        public int Next(int below) => _random.Next(below);

        public byte[] Apply(byte[] original, byte[] other, bool safetensors)
        {
            List<byte> bytes = [.. original];
            for (var left = 1 + Next(3); left > 0 && bytes.Count > 0; left--)
            {
                // Most of a safetensors file is data, in which nothing can be wrong.
                var limit = safetensors && Next(3) > 0 ? Math.Min(bytes.Count, 8 + HeaderLength(bytes)) : bytes.Count;
                var at = Next(Math.Max(1, limit));
                switch (Next(9))
                {
                    case 0:
                        bytes[at] ^= (byte)(1 << Next(8));
                        break;
                    case 1:
                        bytes[at] = (byte)"0123456789[]{},:\"-.e\\"[Next(21)];
                        break;
                    case 2:
                        bytes.RemoveRange(at, Math.Min(Next(20), bytes.Count - at));
                        break;
                    case 3:
                        bytes.InsertRange(at, bytes.GetRange(at, Math.Min(Next(40), bytes.Count - at)));
                        break;
                    case 4:
                        bytes.RemoveRange(at, bytes.Count - at);
                        break;
                    case 5 when other.Length > 0:
                        var from = Next(other.Length);
                        bytes.InsertRange(at, other.AsSpan(from, Math.Min(Next(200), other.Length - from)).ToArray());
                        break;
                    default:
                        ReplaceValue(bytes, at, limit);
                        break;
                }
            }

            // Now and then the length is made right again, so that what is behind it is looked at.
            if (safetensors && bytes.Count > 8 && original.Length > 8 && Next(2) == 0)
            {
                var change = bytes.Count - original.Length;
                foreach (var (i, b) in BitConverter.GetBytes((long)Math.Max(0, HeaderLength([.. original]) + change)).Index())
                    bytes[i] = b;
            }

            return [.. bytes];
        }

        // What follows the next colon or comma, up to the end of the value.
        private void ReplaceValue(List<byte> bytes, int at, int limit)
        {
            var start = bytes.FindIndex(at, Math.Min(limit, bytes.Count) - at, b => b is (byte)':' or (byte)',') + 1;
            if (start <= 0)
                return;
            var end = bytes.FindIndex(start, b => b is (byte)',' or (byte)'}' or (byte)']');
            if (end < 0)
                return;
            bytes.RemoveRange(start, end - start);
            bytes.InsertRange(start, Encoding.ASCII.GetBytes(Values[Next(Values.Length)]));
        }

        private static int HeaderLength(List<byte> bytes) =>
            bytes.Count < 8 ? 0 : (int)Math.Min(BitConverter.ToUInt64([.. bytes[..8]]), (ulong)(bytes.Count - 8));
    }
}
