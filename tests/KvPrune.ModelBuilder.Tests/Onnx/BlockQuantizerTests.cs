using KvPrune.ModelBuilder.Onnx;

namespace KvPrune.ModelBuilder.Tests.Onnx;

public sealed class BlockQuantizerTests
{
    [Theory]
    [InlineData(1, 32, 32)]
    [InlineData(3, 64, 32)]
    [InlineData(5, 33, 32)]
    [InlineData(4, 31, 32)]
    [InlineData(7, 100, 32)]
    [InlineData(2, 256, 128)]
    [InlineData(3, 200, 128)]
    public void Every_weight_is_off_by_at_most_one_step_and_the_largest_is_exact(int rows, int columns, int blockSize)
    {
        var random = new Random((rows * 1_000) + columns);
        for (var round = 0; round < 50; round++)
        {
            var matrix = Enumerable.Range(0, rows * columns).Select(_ => (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-6, 6))).ToArray();

            var (packed, scales) = BlockQuantizer.Quantize(matrix, rows, columns, blockSize);

            var restored = DecoderGraphTests.Unpack(packed, scales, rows, columns, blockSize);
            var blocks = BlockQuantizer.BlocksPerRow(columns, blockSize);
            for (var block = 0; block < rows * blocks; block++)
            {
                var start = ((block / blocks) * columns) + ((block % blocks) * blockSize);
                var length = Math.Min(blockSize, columns - ((block % blocks) * blockSize));
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
        var (packed, scales) = BlockQuantizer.Quantize(new float[40], 1, 40, 32);

        Assert.All(DecoderGraphTests.Unpack(packed, scales, 1, 40, 32), value => Assert.Equal(0, value));
        // The padding too, or it would add to the products.
        Assert.All(packed, both => Assert.Equal(0x88, both));
    }
}
