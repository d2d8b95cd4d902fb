namespace KvPrune.OnnxOps.Tests.Ops;

internal static class Close
{
    /// <summary>Every value differs by at most <paramref name="tolerance"/> times the row's largest magnitude.</summary>
    public static void Rows(
        ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, int width, double tolerance, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var start = 0; start < expected.Length; start += width)
        {
            var row = expected.Slice(start, width);
            var most = 0f;
            foreach (var value in row)
                most = Math.Max(most, Math.Abs(value));
            for (var i = 0; i < width; i++)
            {
                // Written so that NaN fails.
                var other = actual[start + i];
                if (!(Math.Abs(row[i] - other) <= tolerance * most))
                    Assert.Fail($"{what}: row {start / width}, value {i}: {other} in place of {row[i]}, row maximum {most}");
            }
        }
    }
}
