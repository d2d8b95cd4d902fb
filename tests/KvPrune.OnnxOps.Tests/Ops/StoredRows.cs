using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>The rows that a cache stores and those that the reference does.</summary>
internal static class StoredRows
{
    /// <summary>
    /// All rows of a head are the reference's, but for entries at a threshold or between two values of the storage, which may go
    /// either way: with these the reference goes on as the cache has them.
    /// </summary>
    public static void AreThoseOf(
        ReferenceHead reference, PrunedAttentionModel model, KvSequence sequence, int layer, int head, string what)
    {
        var (keys, values) = model.ReadRows(sequence, head, layer);
        Compare([.. reference.Rows.Select(row => row.Key)], keys, model.Shape, $"{what}, layer {layer}, K of head {head}");
        Compare([.. reference.Rows.Select(row => row.Value)], values, model.Shape, $"{what}, layer {layer}, V of head {head}");
    }

    // Rotation in single precision may move an entry over a rounding border or past a neighbour at the threshold; both
    // must stay rare.
    private static void Compare(ReferenceRow[] expected, float[] actual, AttentionShape shape, string what)
    {
        Assert.Equal(expected.Length * shape.HeadSize, actual.Length);
        var moved = 0;
        for (var i = 0; i < actual.Length; i++)
        {
            var (token, channel) = (i / shape.HeadSize, i % shape.HeadSize);
            var row = expected[token];
            var (stored, source) = (row.Stored[channel], row.Source[channel]);
            if (Math.Abs(actual[i] - stored) <= 1e-6 * row.Largest)
                continue;
            moved++;
            var kept = actual[i] != 0 && stored != 0;
            var near = kept
                ? Math.Abs(actual[i] - stored) <= row.Step(channel) * 1.001
                : Math.Abs(Math.Abs(source) - row.Threshold(channel)) <= (row.Step(channel) * 1.001) + (row.Largest * 1e-6);
            if (!near)
                Assert.Fail($"{what}: row {token}, channel {channel}: {actual[i]} in place of {stored} (of {source})");
            row.Stored[channel] = actual[i];
        }

        Assert.True(
            moved <= (shape.Rotary ? actual.Length / 100 : actual.Length / 10000), $"{what}: {moved} of {actual.Length} entries moved");
    }
}
