using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.ModelBuilder;
using KvPrune.ModelBuilder.Tests.Onnx;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>With nothing removed both runtimes compute what GenAI itself does with the untouched folder.</summary>
public sealed class StockGenAITests : IDisposable
{
    // Of the largest logit. All sides run the same matrix products on the same shapes; only attention sums differ.
    private const float Tolerance = 1e-4f;
    private const int GreedyTokens = 200;

    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1000)] // whole
    [InlineData(100)]
    public void The_bundled_model(int chunkTokens)
    {
        using var sides = new Sides(BundledModel.Folder);
        sides.Read(BundledModel.ReferencePrompt.Tokens, chunkTokens);
        sides.Generate(GreedyTokens);
    }

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void Random_models(string name)
    {
        Variant variant = Variant.All[name];
        string model = BuildRandomModel(variant);
        // The mask that GenAI's builder writes for MultiHeadAttention takes a prompt in one piece.
        foreach (int chunk in variant.Attention == AttentionLayout.MultiHead ? new[] { 1000 } : new[] { 1000, 61 })
        {
            using var sides = new Sides(model);
            sides.Read(RandomPrompt(variant.Shape.HeadSize, 150), chunk);
            sides.Generate(50);
        }
    }

    [Theory]
    [InlineData(1000)]
    [InlineData(37)]
    public void After_a_rewind_to_a_prompts_end_another_one_goes_on(int chunkTokens)
    {
        using var sides = new Sides(BuildRandomModel(Variant.All["llama 8/2/64 untied"]));
        sides.Read(RandomPrompt(1, 120), chunkTokens);
        sides.Mark();
        sides.Generate(40);
        for (int branch = 2; branch < 4; branch++)
        {
            sides.ReturnToMark();
            sides.Read(RandomPrompt(branch, 50 + branch), chunkTokens);
            sides.Generate(40);
        }
    }

    [Fact]
    public void Turns_follow_an_end_token_a_length_limit_and_a_cancellation()
    {
        using var sides = new Sides(BuildRandomModel(Variant.All["llama 6/2/96 separate"]));
        sides.Read(RandomPrompt(1, 100), 1000);
        sides.Generate(30);
        sides.Add(sides.EndToken); // drawn and run
        sides.Read(RandomPrompt(2, 40), 1000);
        int last = sides.Generate(30, runLast: false); // the limit: drawn, shown, not run
        sides.Read([last, .. RandomPrompt(3, 40)], 1000);
        sides.Generate(30);
        sides.CancelReading(RandomPrompt(4, 100));
        sides.Read(RandomPrompt(5, 40), 1000);
        sides.Generate(30);
    }

    private string BuildRandomModel(Variant variant)
    {
        string model = Path.Combine(_folder, "model");
        RandomModel.Build(model, variant.Shape, seed: 8, new BuildOptions { Attention = variant.Attention });
        return model;
    }

    private static int[] RandomPrompt(int seed, int tokens)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, tokens).Select(_ => random.Next(256))];
    }

    /// <summary>Stock GenAI, whose greedy choices all sides follow, and both runtimes, compared after each step.</summary>
    private sealed class Sides : IDisposable
    {
        private readonly StockGenerator _stock;
        private readonly Side[] _sides;
        private readonly IReadOnlyList<int> _ends;
        private int _markedLength;

        public Sides(string folder)
        {
            _stock = new StockGenerator(folder);
            _ends = GenAIModelFolder.Load(folder).EndTokens;
            _sides = [new(TestDecoders.LoadGenAI(folder)), new(TestDecoders.LoadOnnxRuntime(folder))];
        }

        public int EndToken => _ends[0];

        public void Read(int[] tokens, int chunk)
        {
            foreach (int[] part in tokens.Chunk(chunk)) _stock.Append(part);
            Compare(side => side.Decoder.Read(side.Sequence, tokens, chunk));
        }

        public void Add(int token)
        {
            _stock.Append(token);
            Compare(side => side.Decoder.Add(side.Sequence, token));
        }

        /// <summary>GenAI's own loop; the last token is given back when it is not run.</summary>
        public int Generate(int tokens, bool runLast = true)
        {
            int token = 0;
            for (int i = 0; i < tokens; i++)
            {
                token = _stock.GenerateNextToken();
                bool ended = _ends.Contains(token); // GenAI draws an end token, leaves it out and wants to stop
                if (i == tokens - 1 && !runLast)
                {
                    if (!ended) _stock.RewindTo(_stock.Length - 1);
                    return token;
                }
                if (ended) _stock.Append(token);
                Compare(side => side.Decoder.Add(side.Sequence, token));
            }
            return token;
        }

        public void Mark()
        {
            _markedLength = _stock.Length;
            foreach (Side side in _sides) side.Marked = side.Sequence.Fork();
        }

        public void ReturnToMark()
        {
            _stock.RewindTo(_markedLength);
            foreach (Side side in _sides)
            {
                side.Sequence.Dispose();
                side.Sequence = side.Marked!.Fork();
            }
        }

        /// <summary>Begins to read a prompt and gives up: both runtimes keep what was there before, GenAI has to rewind.</summary>
        public void CancelReading(int[] tokens)
        {
            int length = _stock.Length;
            _stock.Append(tokens[..10]);
            _stock.RewindTo(length);
            foreach (Side side in _sides)
            {
                var logits = new float[side.Decoder.VocabularySize];
                using var cancellation = new CancellationTokenSource();
                using IDecoderSequence dropped = side.Sequence;
                side.Sequence = dropped.Fork(); // what the next turn continues from
                dropped.OpenSegment(tokens.Length);
                side.Decoder.Prefill(dropped, tokens.AsSpan(0, 10), logits, cancellation.Token);
                cancellation.Cancel();
                Assert.Throws<OperationCanceledException>(() => side.Decoder.Prefill(dropped, tokens.AsSpan(10), logits, cancellation.Token));
                Assert.Equal(length + 10, dropped.GetInfo().Length);
            }
        }

        public void Dispose()
        {
            _stock.Dispose();
            foreach (Side side in _sides)
            {
                side.Sequence.Dispose();
                side.Marked?.Dispose();
                Assert.Equal(0, side.Decoder.GetStatistics().Sequences);
                side.Decoder.Dispose();
            }
        }

        private void Compare(Func<Side, float[]> step)
        {
            float[] expected = _stock.Logits();
            float scale = expected.Max(Math.Abs);
            int token = TestDecoders.ArgMax(expected);
            float margin = expected[token] - expected.Where((_, i) => i != token).Max();
            foreach (Side side in _sides)
            {
                float[] actual = step(side);
                for (int i = 0; i < expected.Length; i++)
                {
                    Assert.True(
                        Math.Abs(expected[i] - actual[i]) <= Tolerance * scale,
                        $"{side.Decoder.GetType().Name}, {_stock.Length} tokens: logit {i} is {actual[i]} instead of {expected[i]}");
                }
                // Closer than the tolerance, either of the two is right.
                if (margin > 2 * Tolerance * scale) Assert.Equal(token, TestDecoders.ArgMax(actual));
            }
        }

        private sealed class Side(IDecoderRuntime decoder)
        {
            public IDecoderRuntime Decoder => decoder;

            public IDecoderSequence Sequence { get; set; } = decoder.CreateSequence(PruningPolicy.Exact);

            public IDecoderSequence? Marked { get; set; }
        }
    }
}
