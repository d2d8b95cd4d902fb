using KvPrune.ModelBuilder.Onnx;

namespace KvPrune.ModelBuilder.Tests.Onnx;

public sealed class BlockQuantizerTests
{
    [Theory]
    [InlineData(1, 32)]
    [InlineData(3, 64)]
    [InlineData(5, 33)]
    [InlineData(4, 31)]
    [InlineData(7, 100)]
    public void Every_weight_is_off_by_at_most_one_step_and_the_largest_is_exact(int rows, int columns)
    {
        var random = new Random((rows * 1_000) + columns);
        for (var round = 0; round < 50; round++)
        {
            var matrix = Enumerable.Range(0, rows * columns).Select(_ => (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-6, 6))).ToArray();

            var (packed, scales) = BlockQuantizer.Quantize(matrix, rows, columns);

            var restored = LlamaGraphTests.Unpack(packed, scales, rows, columns);
            var blocks = BlockQuantizer.BlocksPerRow(columns);
            for (var block = 0; block < rows * blocks; block++)
            {
                var start = ((block / blocks) * columns) + ((block % blocks) * 32);
                var length = Math.Min(32, columns - ((block % blocks) * 32));
                var source = matrix.AsSpan(start, length);
                var result = restored.AsSpan(start, length);
                var step = Math.Abs(scales[block]);
                var extreme = source[0];
                for (var i = 0; i < length; i++)
                {
                    // Half a step by rounding; a whole one at the end of the range that is one step short.
                    var limit = source[i] / scales[block] > 7.5f ? step : step / 2;
                    Assert.True(Math.Abs(source[i] - result[i]) <= limit * 1.0001f, $"{source[i]} became {result[i]} with steps of {step}.");
                    extreme = Math.Abs(source[i]) > Math.Abs(extreme) ? source[i] : extreme;
                }

                Assert.Equal(extreme, -8 * scales[block]);
            }
        }
    }

    [Fact]
    public void Zeros_stay_zeros()
    {
        var (packed, scales) = BlockQuantizer.Quantize(new float[40], 1, 40);

        Assert.All(LlamaGraphTests.Unpack(packed, scales, 1, 40), value => Assert.Equal(0, value));
        // The padding too, or it would add to the products.
        Assert.All(packed, both => Assert.Equal(0x88, both));
    }
}
