using System.Text.Json;

namespace KvPrune.ModelBuilder.Tests;

public sealed class BundledModelTests
{
    // Two fp32 forwards that sum in different orders: 1e-5 was seen, on logits of up to about 20.
    private const double Tolerance = 1e-4;

    [Fact]
    public void Last_position_logits_equal_the_reference_forward()
    {
        using var reference = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Repository.BundledModel, "reference", "reference_logits.json")));
        var root = reference.RootElement;
        int[] ids = [.. root.GetProperty("input_ids").EnumerateArray().Select(e => e.GetInt32())];
        float[] expected = [.. root.GetProperty("last_position_logits").EnumerateArray().Select(e => e.GetSingle())];
        using var decoder = new StockDecoder(Repository.BundledModel);

        var actual = decoder.Append(ids);

        Assert.Equal(expected.Length, actual.Length);
        var worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst < Tolerance, $"The largest difference is {worst}.");
        Assert.Equal(Best(expected, 5), Best(actual, 5));
        Assert.Equal(root.GetProperty("argmax").GetInt32(), StockDecoder.ArgMax(actual));
    }

    private static int[] Best(float[] logits, int count) =>
        [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).Take(count)];
}
