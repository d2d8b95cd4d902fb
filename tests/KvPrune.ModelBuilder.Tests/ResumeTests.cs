using KvPrune.ModelBuilder.Synthetic;

namespace KvPrune.ModelBuilder.Tests;

/// <summary>A build that is cut off goes on where it was, and nothing half-written looks like a model.</summary>
public sealed class ResumeTests : IDisposable
{
    private static readonly ModelShape Shape = ModelShapes.TinyOf(Architecture.Qwen3);

    private readonly TemporaryFolder _folder = new();

    private string Partial => OutputFolder.PartialFolder(_folder["model"]);

    [Theory]
    [InlineData(WeightPrecision.Fp32, 1)]
    [InlineData(WeightPrecision.Fp16, 1)]
    [InlineData(WeightPrecision.Int4, 1)]
    [InlineData(WeightPrecision.Fp32, 100_000)]
    public void Goes_on_from_wherever_it_was_cut_off_and_gives_the_same_bytes(WeightPrecision precision, long checkpointBytes)
    {
        RandomModel.Build(_folder["whole"], Shape, seed: 1, new BuildOptions { Precision = precision });
        var tensors = ModelTensors.All(Shape).Count();
        var reads = new List<int>();
        for (var attempt = 1; !Directory.Exists(_folder["model"]); attempt++)
        {
            Assert.True(attempt < 100, "The build never gets further.");
            var weights = new Failing(new RandomWeights(1), after: 7);
            var error = Record.Exception(() => Build(weights, precision, checkpointBytes));
            Assert.True(error is null or IOException, error?.ToString());
            Assert.Equal(error is null, File.Exists(Path.Combine(_folder["model"], "model.onnx")));
            reads.Add(weights.Reads);
        }

        // Every attempt but the last reads a few tensors anew, none more than the checkpoint allows for.
        Assert.True(reads.Count > tensors / 7, $"{reads.Count} attempts for {tensors} tensors.");
        foreach (var file in Directory.GetFiles(_folder["whole"]).Select(f => Path.GetFileName(f)!))
            Assert.Equal(File.ReadAllBytes(Path.Combine(_folder["whole"], file)), File.ReadAllBytes(Path.Combine(_folder["model"], file)));
        Assert.Equal(2, Directory.GetFileSystemEntries(_folder.Path).Length);
    }

    [Fact]
    public void Another_build_starts_anew()
    {
        CutOff();

        RandomModel.Build(_folder["model"], Shape, seed: 2);

        RandomModel.Build(_folder["other"], Shape, seed: 2);
        Assert.Equal(File.ReadAllBytes(_folder["other/model.onnx.data"]), File.ReadAllBytes(_folder["model/model.onnx.data"]));
    }

    [Fact]
    public void A_journal_line_that_was_cut_off_does_not_count()
    {
        CutOff();
        var path = Path.Combine(Partial, "build.journal");
        var text = File.ReadAllText(path);
        File.WriteAllText(path, text[..^5]);

        Assert.Null(Record.Exception(() => Build(new RandomWeights(1), WeightPrecision.Fp32, 1)));

        RandomModel.Build(_folder["whole"], Shape, seed: 1);
        using var whole = new StockDecoder(_folder["whole"]);
        using var resumed = new StockDecoder(_folder["model"]);
        Assert.Equal(whole.Append(1, 2, 3), resumed.Append(1, 2, 3));
    }

    [Theory]
    [InlineData("12 13\n")]
    [InlineData("-1 4 x\n")]
    [InlineData("1 y x\n")]
    public void A_broken_journal_starts_anew(string line)
    {
        CutOff();
        File.AppendAllText(Path.Combine(Partial, "build.journal"), line);
        var weights = new Failing(new RandomWeights(1), after: int.MaxValue);

        Build(weights, WeightPrecision.Fp32, 1);

        Assert.Equal(ModelTensors.All(Shape).Count(), weights.Reads);
    }

    [Fact]
    public void Data_shorter_than_the_journal_says_is_named()
    {
        CutOff();
        File.WriteAllBytes(Path.Combine(Partial, "model.onnx.data"), []);

        var error = Assert.Throws<IOException>(() => Build(new RandomWeights(1), WeightPrecision.Fp32, 1));

        Assert.Contains(Partial, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_builds_of_one_folder_do_not_mix()
    {
        var weights = new RandomWeights(1).Select((_, _, values) =>
        {
            var error = Assert.Throws<IOException>(() => RandomModel.Build(_folder["model"], Shape, seed: 2));
            Assert.Contains("another build", error.Message, StringComparison.Ordinal);
            return values;
        });

        Build(weights, WeightPrecision.Fp32, 1);

        Assert.True(File.Exists(_folder["model/model.onnx"]));
    }

    private void CutOff()
    {
        Assert.Throws<IOException>(() => Build(new Failing(new RandomWeights(1), after: 9), WeightPrecision.Fp32, 1));
        Assert.Equal([Partial], Directory.GetFileSystemEntries(_folder.Path));
    }

    private void Build(IWeightSource weights, WeightPrecision precision, long checkpointBytes) => ModelFolder.Write(
        _folder["model"],
        Shape,
        new BuildOptions { Precision = precision },
        new ModelSettings(ByteTokenizerFiles.Tokens(Shape.Vocabulary), SearchSettings.Default),
        weights,
        "random 1",
        folder => ByteTokenizerFiles.Write(folder, Shape.Vocabulary, Shape.ContextLength),
        null,
        default,
        new WriteLimits(CheckpointBytes: checkpointBytes));

    public void Dispose() => _folder.Dispose();

    private sealed class Failing(IWeightSource weights, int after) : IWeightSource
    {
        public int Reads { get; private set; }

        public void Read(string name, ReadOnlySpan<int> shape, long start, Span<float> values)
        {
            if (++Reads > after)
                throw new IOException("The power went out.");
            weights.Read(name, shape, start, values);
        }

        public string FileOf(string name) => weights.FileOf(name);
    }
}
