using KvPrune.ModelBuilder.HuggingFace;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

public sealed class SafetensorsFileTests : IDisposable
{
    private const string Name = "weights";

    private readonly TemporaryFolder _folder = new();

    private string FilePath => _folder["model.safetensors"];

    [Theory]
    [InlineData("F32")]
    [InlineData("F16")]
    [InlineData("BF16")]
    public void Reads_back_what_was_written(string dtype)
    {
        var random = new Random(7);
        var tensors = Enumerable.Range(0, 5).Select(i =>
        {
            int[] shape = [random.Next(1, 40), random.Next(1, 40)];
            return ($"t{i}", shape, Enumerable.Range(0, shape[0] * shape[1]).Select(_ => (random.NextSingle() - 0.5f) * 100).ToArray());
        }).ToList();
        SafetensorsWriter.Write(FilePath, dtype, tensors);

        using var file = SafetensorsFile.Open(FilePath);

        Assert.Equal(tensors.Count, file.Entries.Count);
        foreach (var (name, shape, values) in tensors)
        {
            Assert.Equal(shape.Select(d => (long)d), file.Entries[name].Shape);
            Assert.Equal(values.Select(v => SafetensorsWriter.Round(dtype, v)), Read(file, name));
        }
    }

    [Fact]
    public void Reads_a_tensor_of_more_than_one_block()
    {
        var values = Enumerable.Range(0, 300_001).Select(i => (float)i).ToArray();
        SafetensorsWriter.Write(FilePath, "F32", [("first", [3], [1, 2, 3]), (Name, [300_001], values)]);
        using var file = SafetensorsFile.Open(FilePath);

        Assert.Equal(values, Read(file, Name));
    }

    [Theory]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", 12, "cut short")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", 20, "belong to none")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}""", 16, "12 bytes")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}""", 16, "ascending")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4],"data_offsets":[0]}}""", 16, "ascending")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}""", 16, "-4")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4.5],"data_offsets":[0,18]}}""", 18, "4.5")]
    [InlineData("""{"weights":{"dtype":"F32","shape":["4"],"data_offsets":[0,16]}}""", 16, "shape")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}""", 16, "too many elements")]
    [InlineData("""{"weights":{"dtype":"Q4_0","shape":[4],"data_offsets":[0,16]}}""", 16, "Q4_0")]
    [InlineData("""{"weights":{"dtype":"F32","data_offsets":[0,16]}}""", 16, "lacks")]
    [InlineData("""{"weights":7}""", 16, "lacks")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"weights":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}""", 24, "overlaps")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"weights":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}""", 24, "gap")]
    public void Refuses_a_wrong_entry_by_name(string header, int dataBytes, string expected)
    {
        SafetensorsWriter.WriteRaw(FilePath, header, new byte[dataBytes]);

        var error = Assert.Throws<ModelSourceException>(() => SafetensorsFile.Open(FilePath));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Contains(FilePath, error.Message, StringComparison.Ordinal);
        Assert.True(error.Entry is Name or null);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("")]
    [InlineData("""{"weights":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"weights":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""")]
    public void Refuses_a_header_that_is_no_JSON_object_with_unique_names(string header)
    {
        SafetensorsWriter.WriteRaw(FilePath, header, new byte[8]);

        Assert.Throws<ModelSourceException>(() => SafetensorsFile.Open(FilePath));
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData((ulong)long.MaxValue + 1)]
    [InlineData(1_000_000_000_000ul)]
    [InlineData(99_000_000ul)]
    [InlineData(11ul)]
    public void Refuses_a_header_longer_than_the_file(ulong claimed)
    {
        SafetensorsWriter.WriteRaw(FilePath, "{}", new byte[8], claimed);

        var error = Assert.Throws<ModelSourceException>(() => SafetensorsFile.Open(FilePath));

        Assert.Contains(claimed.ToString(), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_to_read_integers_as_weights()
    {
        SafetensorsWriter.WriteRaw(FilePath, """{"weights":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}""", new byte[16]);
        using var file = SafetensorsFile.Open(FilePath);

        var error = Assert.Throws<ModelSourceException>(() => Read(file, Name));

        Assert.Equal(Name, error.Entry);
        Assert.Contains("I64", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_a_missing_file_and_a_missing_tensor()
    {
        Assert.Contains("gone", Assert.Throws<ModelSourceException>(() => SafetensorsFile.Open(_folder["gone"])).Message, StringComparison.Ordinal);
        SafetensorsWriter.Write(FilePath, "F32", [(Name, [1], [1])]);
        using var file = SafetensorsFile.Open(FilePath);

        Assert.Equal("other", Assert.Throws<ModelSourceException>(() => file.ReadFloats("other", 0, [])).Entry);
    }

    // Whatever the bytes are: either the file opens and every tensor reads, or the error is the typed one.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Damaged_bytes_never_escape_as_another_exception(int seed)
    {
        var random = new Random(seed);
        SafetensorsWriter.Write(FilePath, "F32", [("a", [2, 3], new float[6]), (Name, [5], new float[5])]);
        var whole = File.ReadAllBytes(FilePath);
        int opened = 0, refused = 0;
        for (var round = 0; round < 1_500; round++)
        {
            var bytes = whole[..(random.Next(3) == 0 ? random.Next(whole.Length + 1) : whole.Length)];
            for (var change = random.Next(4); change > 0 && bytes.Length > 0; change--)
                bytes[random.Next(bytes.Length)] = random.Next(2) == 0 ? (byte)random.Next(256) : (byte)"0123456789[]{},:\"-"[random.Next(18)];
            File.WriteAllBytes(FilePath, bytes);
            try
            {
                using var file = SafetensorsFile.Open(FilePath);
                foreach (var name in file.Entries.Keys)
                    Assert.Equal(file.Entries[name].Length / SafetensorsEntry.SizeOf(file.Entries[name].DType), Read(file, name).Length);
                opened++;
            }
            catch (ModelSourceException)
            {
                refused++;
            }
        }

        Assert.True(opened > 50 && refused > 50, $"The damage was one-sided: {opened} opened, {refused} refused.");
    }

    private static float[] Read(SafetensorsFile file, string name)
    {
        var entry = file.Entries[name];
        var values = new float[entry.Length / SafetensorsEntry.SizeOf(entry.DType)];
        file.ReadFloats(name, 0, values);
        return values;
    }

    public void Dispose() => _folder.Dispose();
}
